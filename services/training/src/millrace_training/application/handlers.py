"""One event in, events out. What is kept and what is sent commit together, outside of here."""

from collections.abc import Iterator

from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import Instant
from millrace_training.application.ports import Books, Origin
from millrace_training.domain.by_labels import cause_by_labels, due_by_labels
from millrace_training.domain.events import (
    CardFailed,
    CardMade,
    Cause,
    Decision,
    DriftCleared,
    DriftDetected,
    Event,
    FeaturesComputed,
    LabelObserved,
    LabelRetracted,
    ModelCardMade,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    PausePipeline,
    PerformanceDegraded,
    PipelineApplied,
    Retrain,
    RetrainSkipped,
    RunFailed,
    RunFinished,
    RunSkipped,
    RunStarted,
    RunTried,
    Skip,
    TrainingCompleted,
    TrainingFailed,
    TrainingStarted,
    TrialCompleted,
)
from millrace_training.domain.retraining import (
    Happening,
    decide,
    evolve,
    first_cause,
    first_model_after,
    honoured,
    pass_time,
)
from millrace_training.domain.updates import in_vain_in_words, is_in_vain


def on_features(event: FeaturesComputed, books: Books, origin: Origin) -> Iterator[Event]:
    books.pipelines.policy(event.pipeline)
    books.lake.add_vector(event)
    books.labelled.vector(event.pipeline, event.event_id, event.pipeline_version)
    yield from _time_passes(event.pipeline, event.recorded_at, books, origin)


def on_label(event: LabelObserved, books: Books, origin: Origin) -> Iterator[Event]:
    books.pipelines.policy(event.pipeline)
    books.lake.add_label(event)
    books.labelled.label(event.pipeline, event.event_id, event.known_at, stands=True)
    yield from _time_passes(event.pipeline, event.recorded_at, books, origin)


def on_label_retracted(event: LabelRetracted, books: Books, origin: Origin) -> Iterator[Event]:
    books.pipelines.policy(event.pipeline)
    books.lake.add_label(event)
    books.labelled.label(event.pipeline, event.event_id, event.known_at, stands=False)
    yield from _time_passes(event.pipeline, event.recorded_at, books, origin)


def on_drift(event: DriftDetected, books: Books, origin: Origin) -> Iterator[Event]:
    yield from _time_passes(event.pipeline, event.recorded_at, books, origin)
    clock = books.pipelines.history(event.pipeline).clock
    cause = Cause(Trigger.DRIFT, origin.id, clock, event.subject, event.because, event.since)
    yield _answer(event.pipeline, cause, books, origin)


def on_performance(event: PerformanceDegraded, books: Books, origin: Origin) -> Iterator[Event]:
    yield from _time_passes(event.pipeline, event.recorded_at, books, origin)
    clock = books.pipelines.history(event.pipeline).clock
    cause = Cause(Trigger.PERFORMANCE, origin.id, clock, event.subject, event.because, event.since)
    yield _answer(event.pipeline, cause, books, origin)


def on_retrain_command(event: Retrain, books: Books, origin: Origin) -> Iterator[Event]:
    """A person's clock is not the pipeline's, which may be a replay's, so a command does not move it."""
    clock = books.pipelines.history(event.pipeline).clock
    because = f"{event.actor or 'somebody'} asked for it" + (
        f": {event.reason}" if event.reason else ""
    )
    cause = Cause(Trigger.COMMAND, origin.id, clock, "command", because)
    if books.pipelines.knows(event.pipeline):
        yield _answer(event.pipeline, cause, books, origin)
    else:  # to wait for the file would hold up every other pipeline's commands, for ever if the name is a slip
        detail = f"{because}; no file of {event.pipeline} has been applied, so nothing is labelled: check the name"
        skipped = RetrainSkipped(event.pipeline, cause, Skip.TOO_FEW_LABELS, detail)
        books.journal.decided(skipped, clock, origin)
        yield skipped


def on_pause(event: PausePipeline, books: Books) -> None:
    """A pipeline can be paused before its file is heard of: commands wait for nothing."""
    _remember(event.pipeline, event, books)


def on_pipeline_applied(event: PipelineApplied, books: Books) -> None:
    books.pipelines.apply(event)
    _remember(event.pipeline, event, books)


def on_drift_cleared(event: DriftCleared, books: Books) -> None:
    _remember_of_known(event.pipeline, event, books)


def on_promoted(event: ModelPromoted, books: Books) -> None:
    _remember_of_known(event.pipeline, event, books)
    books.journal.promoted(event)


def on_rolled_back(event: ModelRolledBack, books: Books) -> None:
    _remember_of_known(event.pipeline, event, books)


def on_rejected(event: ModelRejected, books: Books) -> None:
    _remember_of_known(event.pipeline, event, books)


def on_run_started(event: RunStarted, books: Books) -> Iterator[Event]:
    books.journal.started(event)
    yield TrainingStarted(event.run, event.dataset)


def on_run_tried(event: RunTried, books: Books) -> Iterator[Event]:
    books.journal.tried(event)
    yield TrialCompleted(event.run, event.trial)


def on_run_finished(event: RunFinished, books: Books) -> Iterator[Event]:
    _remember(event.run.pipeline, event, books)
    books.journal.ended(event)
    if is_in_vain(event):
        yield TrainingFailed(event.run, in_vain_in_words(event), event.candidate.cost)
        return
    yield TrainingCompleted(event.run, event.dataset, event.candidate)


def on_card_made(event: CardMade, books: Books) -> Iterator[Event]:
    _remember(event.run.pipeline, event, books)
    books.journal.carded(event)
    yield ModelCardMade(event.run, event.uri, event.sha256, event.cost)


def on_card_failed(event: CardFailed, books: Books) -> None:
    _remember(event.run.pipeline, event, books)
    books.journal.carded(event)


def on_run_failed(event: RunFailed, books: Books) -> Iterator[Event]:
    _remember(event.run.pipeline, event, books)
    books.journal.ended(event)
    yield TrainingFailed(event.run, event.reason, event.cost)


def on_run_skipped(event: RunSkipped, books: Books, origin: Origin) -> Iterator[Event]:
    """The rows were counted as they came; how many of them were known at the run's time is seen when they are joined."""
    run = event.run
    _remember(run.pipeline, event, books)
    books.journal.ended(event)
    detail = f"run {run.number} found {event.rows:,} labelled rows known by then, and {event.needed:,} are needed"
    cause = Cause(run.trigger, run.cause_id, run.as_of, f"run {run.number}", detail)
    skipped = RetrainSkipped(
        run.pipeline,
        cause,
        Skip.TOO_FEW_LABELS,
        detail,
        pipeline_version=run.pipeline_version,
    )
    books.journal.decided(skipped, run.as_of, origin)
    yield skipped


def _time_passes(name: PipelineName, at: Instant, books: Books, origin: Origin) -> Iterator[Event]:
    """The pipeline's clock moves with every event of its data; what falls due by that is answered first."""
    policy, before = books.pipelines.policy(name), books.pipelines.history(name)
    history, scheduled = pass_time(policy, before, at, books.next_due)
    if history is not before:
        books.pipelines.put(name, history)
    if scheduled is not None:
        yield _answer(name, scheduled, books, origin)
    put_off = honoured(policy, books.pipelines.history(name))
    if put_off is not None:
        yield _answer(name, put_off, books, origin)
    rows = first_model_after(policy, books.pipelines.history(name))
    if rows is not None and books.labelled.reach(name, policy.versions, rows):
        cause = first_cause(
            books.pipelines.history(name), origin.id, books.labelled.count(name, policy.versions)
        )
        yield _answer(name, cause, books, origin)
    due = due_by_labels(policy, books.pipelines.history(name))
    if due is not None and books.labelled.reach(name, policy.versions, due[1]):
        labelled = books.labelled.count(name, policy.versions)
        history = books.pipelines.history(name)
        yield _answer(name, cause_by_labels(history, due[0], origin.id, labelled), books, origin)


def _answer(name: PipelineName, cause: Cause, books: Books, origin: Origin) -> Decision:
    policy, history = books.pipelines.policy(name), books.pipelines.history(name)
    decision = decide(policy, history, cause, books.labelled.count(name, policy.versions))
    books.pipelines.put(name, evolve(history, decision))
    books.journal.decided(decision, history.clock, origin)
    return decision


def _remember(name: PipelineName, event: Happening, books: Books) -> None:
    books.pipelines.put(name, evolve(books.pipelines.history(name), event))


def _remember_of_known(name: PipelineName, event: Happening, books: Books) -> None:
    books.pipelines.policy(name)
    _remember(name, event, books)
