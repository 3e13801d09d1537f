"""The champion on the candidate's holdout."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Learnt, read_artifact
from millrace_artifacts.errors import ArtifactError
from millrace_artifacts.scorer import scorer_of
from millrace_artifacts.signature import Signature
from millrace_training.adapters.fitting.job import FEWEST_ROWS, FitJob
from millrace_training.adapters.fitting.measuring.measure import Losses, metrics_of, row_losses
from millrace_training.adapters.fitting.reading.rows import Rows

_LEAST_SHARE = 10  # of the usual holdout a tenth at least, or a metric says too little to be a gate


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """How the champion does. `losses` is None when it could not be measured; `notes` says why."""

    metrics: dict[str, float]
    losses: Losses | None
    notes: tuple[str, ...]


def measure_champion(job: FitJob, holdout: Rows) -> Champion:
    """Measure the champion's `measured` model, the one that had not learnt its own holdout when it was measured.

    What answers users has learnt newer rows, of this holdout too when it is younger than the holdout is long: on rows that
    it has learnt it would beat every honest candidate, and no retraining could ever win. `measured` stands as far behind
    its champion as the candidate that is measured here stands behind the model that will ship, so the two are alike.
    """
    if job.champion is None:
        notes = (f"not compared with the champion: {job.no_champion}",) if job.no_champion else ()
        return Champion({}, None, notes)
    try:
        artifact = read_artifact(job.champion)
        # XGBoost's own form, where there is one: it answers the same (`Parity`) and opens in a fifth of the time
        scorer = scorer_of(replace(artifact.measured or artifact.model, prefers_native=True))
    except ArtifactError as error:
        return Champion({}, None, (f"not compared with the champion: {error}",))
    signature = scorer.signature
    difference = _difference(job, signature, holdout)
    if difference:
        return Champion({}, None, (f"not compared with the champion: {difference}",))
    rows = _under(job, signature, holdout)
    scores = scorer.score(rows.numbers, rows.categories.tolist())
    metrics = metrics_of(job.label_kind, signature.classes, holdout.labels, scores)
    losses = row_losses(job.label_kind, signature.classes, holdout.labels, scores)
    return Champion(metrics, losses, _favoured(artifact.learnt, holdout))


def held_out_fairly(job: FitJob, rows: Rows) -> tuple[int, tuple[str, ...]]:
    """How many of the newest rows the champion has not learnt either, where that is less than the job holds out, and a note;
    0 where the job's own number is fair, or where so few are left that they would say nothing.

    An update stands on trees that have learnt all that came before it. A full run that comes soon after is measured on what
    is newer than that, by a model that has learnt as much: on rows that only the champion knows it could not win.
    """
    if job.winner is not None:
        return job.winner.holdout_rows, ()
    # a cluster's sample holds the rows of the job's own holdout, and few of those before
    if job.champion is None or job.cluster is not None:
        return 0, ()
    try:
        learnt = read_artifact(job.champion).learnt
    except ArtifactError:
        return 0, ()
    usual = min(job.holdout_last, len(rows) // 5)
    fresh = int(np.count_nonzero(rows.event_times > learnt.measured_until_us))
    if not max(FEWEST_ROWS, usual // _LEAST_SHARE) <= fresh < usual:
        return 0, ()
    return fresh, (
        f"the {usual - fresh} oldest rows of the holdout were not held out: the champion had learnt them",
    )


def _difference(job: FitJob, signature: Signature, rows: Rows) -> str:
    """Why rows of this pipeline version can't be given to the champion; empty when they can."""
    numbers, categories = _columns(job, rows)
    missing = sorted(
        ({*signature.numbers} - {*numbers}) | ({*signature.categories} - {*categories})
    )
    if missing:
        return f"it needs the columns {missing}, which this pipeline version does not have"
    if signature.label_kind is not job.label_kind:
        return f"it answers a {signature.label_kind} label, this version's is {job.label_kind}"
    return ""


def _columns(
    job: FitJob, rows: Rows
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.object_]]]:
    """The rows' columns by name, numbers and categories. What no model may look at any more, a champion of an older file may."""
    numbers = {name: rows.numbers[:, place] for place, name in enumerate(job.numbers)}
    categories = {name: rows.categories[:, place] for place, name in enumerate(job.categories)}
    for name, column in rows.apart.items():
        if column.dtype == np.float64:
            numbers[name] = column
        else:
            categories[name] = column
    return numbers, categories


def _under(job: FitJob, signature: Signature, rows: Rows) -> Rows:
    """The rows under the champion's columns."""
    numbers, categories = _columns(job, rows)
    count = len(rows)
    return replace(
        rows,
        numbers=np.array([numbers[name] for name in signature.numbers]).reshape(-1, count).T,
        categories=np.array([categories[name] for name in signature.categories], dtype=object)
        .reshape(-1, count)
        .T,
    )


def _favoured(learnt: Learnt, holdout: Rows) -> tuple[str, ...]:
    """It can have learnt some of these rows when the pipeline's holdout has become longer since, or when it is an update, whose
    base has learnt all that came before it."""
    rows = int(np.count_nonzero(holdout.event_times <= learnt.measured_until_us))
    if not rows:
        return ()
    return (f"the champion had learnt {rows} of the holdout's rows before: it looks too good",)
