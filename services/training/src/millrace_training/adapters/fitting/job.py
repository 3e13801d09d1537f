"""What a fit is told and what it tells back: plain values, so that they travel between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from millrace_artifacts.artifact import Speed
from millrace_kernel.errors import PermanentError
from millrace_kernel.evidence import NO_EVIDENCE, Evidence
from millrace_kernel.pipeline import Gate, LabelKind
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, ClusterUse
from millrace_training.adapters.fitting.environment import Environment
from millrace_training.adapters.fitting.options import DEFAULT_OPTIONS, Options

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
FEWEST_ROWS = 20  # with fewer, neither a fit nor a comparison says anything


class FitError(PermanentError):
    """Nothing can be learnt from this dataset in this way. The text says why, and what to do."""


class TooFewRowsError(FitError):
    """Fewer than FEWEST_ROWS rows carry a label."""


class OneClassError(FitError):
    """All training rows have the same label, so there is nothing to tell apart yet."""


class NoCandidateError(FitError):
    """None of the named kinds of model suits the label, or none can be exported truthfully."""


class DatasetError(FitError):
    """The dataset file does not have the columns that the job names."""


@dataclass(frozen=True, slots=True)
class Winner:
    """What a fit settled on, by a search and by clocks. Fitted again on the same rows it gives the same bytes.

    `learnt_share`: only that newest part of the rows is learnt. `half_life_share`: a row counts half after that part of the
    rows; None: all count the same. `without`: columns that it does not look at. `prefers_native`: see `Model`.
    `since_us`: only rows from that event time on are learnt, whatever their share.
    `holdout_rows`: so many of the newest rows were held out, the champion had learnt those before; 0: as many as the job says.
    """

    algorithm: str
    parameters_json: str
    learnt_share: float = 1.0
    half_life_share: float | None = None
    without: tuple[str, ...] = ()
    prefers_native: bool = False
    holdout_rows: int = 0
    since_us: int | None = None


@dataclass(frozen=True, slots=True)
class FitJob:
    """One fit.

    `dataset` is a Parquet file with the columns event_id (string), event_time_us (int64), numbers (list of double, NaN
    where missing), categories (list of string) and label (double; string for multiclass), one row per labelled event, in
    any order. `numbers` and `categories` name what the lists hold. `champion` is the artifact to compare with; its
    digest and signature have been checked. `no_champion` says why there is none, where there should be one.
    `trials` 1 fits sensible defaults; more than that searches for up to `timeout_seconds` of wall time (see `search`):
    `finished` are the trials that an attempt cut off has behind it, `earlier` what won for this pipeline before, newest first.
    `label_delay_us`: how long after its event a label is known; what was not known when validation begins is not learnt.
    `winner`: nothing is searched and nothing is timed, this is fitted.
    `threads` 1 unless cores stand idle: OpenMP's threads spin while they wait, and two of them on busy cores took ten
    times as long as one. `refit`: the shipped model learns the holdout too, after it was measured. `primary_metric` None: the label kind's own.
    `since_us`: event time at which a change is estimated to have begun: see `since`.
    `gates` say what is to be measured beside the metrics (see `checks`). `unlearnt` names columns that no model looks at.
    `cluster`: what ships is fitted there, on the plan's parts; `dataset` holds a sample of their rows and all of the holdout's.
    `held`: what the dataset's lists hold where models are not given all of it; None: `numbers` and `categories`.
    """

    pipeline: str
    pipeline_version: int
    label_kind: LabelKind
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    candidates: tuple[str, ...]
    dataset: Path
    train_on_last: int
    holdout_last: int
    trials: int = 1
    timeout_seconds: float = 60.0
    seed: int = 0
    threads: int = 1
    champion: bytes | None = None
    no_champion: str = ""
    refit: bool = True
    primary_metric: str | None = None
    update: bool = False  # only add trees to the champion's: see `updating`
    label_delay_us: int = 0
    finished: tuple["TrialResult", ...] = ()
    earlier: tuple["TrialResult", ...] = ()
    winner: Winner | None = None
    gates: tuple[Gate, ...] = ()
    unlearnt: tuple[str, ...] = ()
    options: Options = DEFAULT_OPTIONS
    cluster: ClusterPlan | None = None
    held: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    since_us: int | None = None


def for_models(job: FitJob) -> FitJob:
    """The job as all that learns, explains or encodes is to see it: without the columns that no model looks at. Those stand
    apart in the rows that are read for it (`Rows.apart`), and slices are told by them."""
    if not job.unlearnt:
        return job
    shown = tuple(text for text in job.options.texts if text.name not in job.unlearnt)
    return replace(
        job,
        numbers=tuple(name for name in job.numbers if name not in job.unlearnt),
        categories=tuple(name for name in job.categories if name not in job.unlearnt),
        unlearnt=(),
        options=replace(job.options, texts=shown),
        held=(job.numbers, job.categories),
    )


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One attempt of the search: its metrics are over the newest validation rows, the newest fifth of the training rows.

    `loss` is a mean over the folds of the mean absolute error or log loss: what the attempts are ranked by. `proposal_json` is what
    a search that goes on tells Optuna of it, `steps` the loss after each fold, `seconds` the wall time since the search began.
    """

    number: int  # 1, 2, …
    algorithm: str
    parameters_json: str
    metrics: Mapping[str, float]
    loss: float
    cpu_seconds: float
    state: str = COMPLETE  # complete, pruned (hopeless after the first folds) or failed
    winner: Winner | None = None  # what would be fitted, should it win
    proposal_json: str = ""
    steps: tuple[float, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FitResult:
    """What came of a fit.

    `metrics`, `champion_metrics` and `baseline_metrics` are over the same holdout; what can't be computed (ROC AUC over
    one class) is left out. `metrics` belong to the model before it learnt the holdout. `champion_metrics` is empty and
    `better_probability` None when there was no champion or it could not be compared (`notes` says why).
    `trials` is empty when there was nothing to choose between. `reference_profile` is `millrace_kernel.profile` JSON.
    """

    algorithm: str
    parameters_json: str
    artifact: bytes
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    baseline_metrics: Mapping[str, float]
    better_probability: float | None
    reference_profile: bytes
    trials: tuple[TrialResult, ...]
    train_rows: int  # learnt before measuring
    holdout_rows: int  # measured on
    learnt_rows: int  # learnt by the shipped model
    fit_seconds: float  # wall time of all of it: choosing, fitting, measuring, exporting
    cpu_seconds: float  # of the whole fit, search and export included
    notes: tuple[str, ...]
    winner: Winner | None = None  # None: nothing was settled (an update)
    speed: Speed | None = None  # of what ships; None: not measured
    environment: Environment | None = None
    evidence: Evidence = NO_EVIDENCE  # beside the metrics, for the gates
    cluster: ClusterUse | None = None  # None: it was fitted here
