"""One event in, events out. What is kept and what is said commit together, outside of here."""

from collections.abc import Iterator

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.time import Instant
from millrace_monitoring.application.ports import Joins, Monitors, Pipelines, References
from millrace_monitoring.domain import joins as join
from millrace_monitoring.domain import monitor as watch
from millrace_monitoring.domain.events import (
    ChallengerEnded,
    ChallengerStarted,
    Event,
    LabelObserved,
    LabelRetracted,
    ModelPromoted,
    ModelRolledBack,
    PipelineApplied,
    PredictionMade,
    Role,
)
from millrace_monitoring.domain.joins import Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import WatchedPipeline, watched
from millrace_monitoring.domain.quality import Pair
from millrace_monitoring.domain.windows import reference_of

# Predictions and labels of its pipeline that a side waits for its other side, however long they take: in a replay of years
# one topic may be read far ahead of the other. About 200 bytes each in the database, where no labels come at all.
WAITS_FOR_AT_LEAST = 1_000_000


def on_pipeline_applied(event: PipelineApplied, pipelines: Pipelines) -> Iterator[Event]:
    """Watch by the newest file."""
    known = pipelines.of(event.pipeline.name)
    if known is None or event.pipeline.version > known.version:
        pipelines.put(watched(event.pipeline, event.earlier, known))
    yield from ()


def on_champion(
    event: ModelPromoted | ModelRolledBack,
    pipelines: Pipelines,
    references: References,
    monitors: Monitors,
) -> Iterator[Event]:
    """Hold everything against the new champion's profile from now on."""
    _known(pipelines, event.pipeline)
    before = monitors.of(event.pipeline)
    after, events = watch.on_champion(before, event)
    if after is not before:
        monitors.put(event.pipeline, after)
        reference = reference_of(event.version, event.epoch, event.profile)
        references.put(event.pipeline, reference)
    yield from events


def on_challenger(
    event: ChallengerStarted | ChallengerEnded, pipelines: Pipelines, monitors: Monitors
) -> Iterator[Event]:
    """Compare from now on, or no more."""
    _known(pipelines, event.pipeline)
    before = monitors.of(event.pipeline)
    if isinstance(event, ChallengerStarted):
        after = watch.on_challenger(before, event)
    else:
        after = watch.on_challenger_ended(before, event)
    if after is not before:
        monitors.put(event.pipeline, after)
    yield from ()


def on_prediction(
    event: PredictionMade,
    pipelines: Pipelines,
    references: References,
    monitors: Monitors,
    joins: Joins,
) -> Iterator[Event]:
    """Count it in the champion's window, and pair it with its label if that came first."""
    pipeline = _known(pipelines, event.pipeline)
    monitor = monitors.of(event.pipeline)
    if event.epoch > monitor.epoch and event.model_version:
        raise TransientError(
            f"{event.pipeline}: version {event.model_version} answered in epoch {event.epoch}, but its promotion has not "
            f"been heard of; the newest epoch known is {monitor.epoch}"
        )
    if event.trial > monitor.trials:
        raise TransientError(
            f"{event.pipeline}: version {event.model_version} answered in trial {event.trial}, which has not been heard of; "
            f"the newest trial known is {monitor.trials}"
        )
    _check_answer(pipeline, event.answer, event)
    monitor = watch.heard(monitor, event.recorded_at)
    reference = references.of(event.pipeline)
    if reference is not None and watch.watches(monitor, event):
        monitor, events = watch.on_prediction(monitor, pipeline, reference, event)
        yield from events
    if event.role is not Role.REQUEST:
        before = joins.of(event.pipeline, event.event_id)
        keep = _compares(pipeline, monitor)
        waiting, scored = join.answered(before, event, monitor.heard, keep=keep)
        joins.put(event.pipeline, event.event_id, waiting)
        if scored is not None:
            monitor, events = watch.on_scored(monitor, pipeline, reference, scored, event)
            yield from events
        pair = _newly_met(monitor, before, waiting)
        monitor, events = watch.on_compared(monitor, pipeline, reference, event, pair, event.id)
        yield from events
    _keep(monitors, joins, pipeline, monitor)


def on_label(
    event: LabelObserved,
    pipelines: Pipelines,
    references: References,
    monitors: Monitors,
    joins: Joins,
) -> Iterator[Event]:
    """Pair it with the answers that wait for it, or let it wait for them."""
    pipeline = _known(pipelines, event.pipeline)
    monitor = monitors.of(event.pipeline)
    _check_answer(pipeline, event.truth, event)
    monitor = watch.heard(monitor, event.recorded_at)
    reference = references.of(event.pipeline)
    before = joins.of(event.pipeline, event.event_id)
    keep = _compares(pipeline, monitor)
    waiting, pairs = join.labelled(before, event.truth, event.recorded_at, monitor.heard, keep=keep)
    joins.put(event.pipeline, event.event_id, waiting)
    for scored in pairs:
        monitor, events = watch.on_scored(monitor, pipeline, reference, scored, event)
        yield from events
    pair = _newly_met(monitor, before, waiting)
    monitor, events = watch.on_compared(monitor, pipeline, reference, None, pair, event.id)
    yield from events
    _keep(monitors, joins, pipeline, monitor)


def on_label_retracted(
    event: LabelRetracted, pipelines: Pipelines, monitors: Monitors, joins: Joins
) -> Iterator[Event]:
    """A label that still waits for its prediction waits no more; one that was counted stays counted."""
    _known(pipelines, event.pipeline)
    monitors.of(event.pipeline)  # so that nobody else moves the waiting sides meanwhile
    waiting = join.retracted(joins.of(event.pipeline, event.event_id))
    joins.put(event.pipeline, event.event_id, waiting)
    yield from ()


def _compares(pipeline: WatchedPipeline, monitor: Monitor) -> bool:
    """Whether sides that have met are kept, because a challenger may still answer the same event."""
    return pipeline.promotion.compares or monitor.trial is not None


def _newly_met(monitor: Monitor, before: Waiting, after: Waiting) -> tuple[Pair, Pair] | None:
    """The two answers of the trial to one event, once: when the last of them and the truth has come. What the challenger
    may have learnt from proves nothing."""
    trial = monitor.trial
    if trial is None or after.truth_at <= trial.learnt_until:
        return None
    versions = trial.champion.version, trial.challenger.version
    return None if join.met(before, *versions) else join.met(after, *versions)


def _known(pipelines: Pipelines, name: PipelineName) -> WatchedPipeline:
    pipeline = pipelines.of(name)
    if pipeline is None:
        raise TransientError(f"{name}: no such pipeline has been heard of yet")
    return pipeline


def _check_answer(
    pipeline: WatchedPipeline,
    answer: float | str | None,
    event: PredictionMade | LabelObserved,
) -> None:
    if answer is not None and isinstance(answer, str) != pipeline.label_kind.is_text:
        raise PermanentError(
            f"{event.pipeline}: the {type(event).__name__} of event {event.event_id} is {answer!r}, which a "
            f"{pipeline.label_kind} label cannot be"
        )


def _keep(monitors: Monitors, joins: Joins, pipeline: WatchedPipeline, monitor: Monitor) -> None:
    monitors.put(pipeline.name, monitor)
    since = Instant(monitor.newest - pipeline.patience)
    joins.forget_before(pipeline.name, monitor.heard - WAITS_FOR_AT_LEAST, since)
