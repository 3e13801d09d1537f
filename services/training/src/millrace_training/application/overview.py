"""What people ask of training, as plain values for HTTP."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. Times are RFC 3339, UTC, on the pipeline's own clock."""

    run_id: str
    run_number: int
    pipeline_version: int
    trigger: str
    cause_id: str
    as_of: str
    state: str  # requested, started, finished, failed, skipped
    reason: str | None  # why it failed or was skipped, or what should be known of its candidate
    algorithm: str | None
    metrics: dict[str, float]
    artifact_uri: str | None
    artifact_sha256: str | None
    train_rows: int | None
    holdout_rows: int | None
    cpu_seconds: float | None
    wall_seconds: float | None
    peak_memory_bytes: int | None
    joules: float | None  # None: the machine does not tell
    points: float | None  # better than the champion by, on the same holdout
    promoted: bool
    card_uri: str | None
    card_sha256: str | None


@dataclass(frozen=True, slots=True)
class CostsView:
    """What a pipeline's runs cost, all of them together, and what was had for it. What is not known is null, never zero.

    Money is at the prices of now. A point is one hundredth: of 1 for a share such as accuracy, of the champion's value
    for a loss; those of promoted runs are counted.
    """

    pipeline: str
    runs: int
    promotions: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int  # of the run that had the most
    joules: float | None
    money: float | None
    currency: str
    points: float
    cpu_seconds_per_promotion: float | None
    money_per_promotion: float | None
    cpu_seconds_per_point: float | None
    money_per_point: float | None


@dataclass(frozen=True, slots=True)
class DatasetView:
    run_number: int
    uri: str
    sha256: str
    size: int
    rows: int
    vectors_version: int
    labels_version: int
    as_of: str
    first_event_time: str
    last_event_time: str


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial of a run's search; kept as it ended, so those of a run that goes on are here too."""

    number: int
    algorithm: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    loss: float  # what the search ranks by
    state: str  # complete, pruned, failed
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run, what it learnt from, what it takes to make its artifact again, and the trials of its search.

    `record` is None for a run that has no artifact (yet): the pipeline file's digest, the seed, threads, what a search and
    clocks settled, the champion of then, and the environment with the libraries' versions and the code's digest.
    """

    run: RunView
    dataset: DatasetView | None
    record: dict[str, Any] | None
    trials: list[TrialView]


@dataclass(frozen=True, slots=True)
class DecisionView:
    at: str
    trigger: str
    cause_id: str
    requested: bool
    reason: str | None  # why not
    run_number: int | None
    detail: str  # why or why not, in words, with the numbers


@dataclass(frozen=True, slots=True)
class StatusView:
    """Where a pipeline stands."""

    version: int  # of the file in force
    clock: str  # the newest recorded time of its data
    paused: bool
    labelled_rows: int
    first_model_after: (
        int | None
    )  # rows; None: a first model is there, on its way, or refused for now
    running: int | None  # the number of the run that is going on
    last_requested: str | None
    schedule_due: str | None
    put_off: list[str]  # what will be honoured once the reason to wait has passed
    champion_version: int | None
