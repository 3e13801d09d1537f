"""One event in, events out: with everything that is kept in plain dictionaries."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import DAY, HOUR, Instant
from millrace_training.application import handlers
from millrace_training.application.ports import UnknownPipelineError
from millrace_training.domain.events import (
    Champion,
    DriftCleared,
    DriftDetected,
    ModelPromoted,
    ModelRejected,
    PausePipeline,
    PipelineApplied,
    Retrain,
    RetrainRequested,
    RetrainSkipped,
    RunFailed,
    RunSkipped,
    Skip,
    TrainingFailed,
)
from millrace_training.domain.policies import policy_of
from millrace_training.domain.retraining import NO_HISTORY

BIKES = PipelineName("bikes")


@dataclass(frozen=True)
class Origin:
    id: str


@dataclass
class Books:
    """`application.ports.Books`, and its parts, in memory."""

    files: dict = field(default_factory=dict)
    histories: dict = field(default_factory=lambda: defaultdict(lambda: NO_HISTORY))
    vectors: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    decided_on: list = field(default_factory=list)
    starts: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    promotions: list = field(default_factory=list)

    @property
    def pipelines(self):
        return self

    lake = labelled = journal = pipelines

    def next_due(self, _schedule, after):
        return Instant((after // DAY + 1) * DAY)

    def policy(self, name):
        if name not in self.files:
            raise UnknownPipelineError(name)
        return policy_of(self.files[name][-1], self.files[name])

    def knows(self, name):
        return name in self.files

    def apply(self, event):
        self.files[event.pipeline] = event.versions

    def history(self, name):
        return self.histories[name]

    def put(self, name, history):
        self.histories[name] = history

    def add_vector(self, event):
        self.vectors.append(event)

    def add_label(self, event):
        self.labels.append(event)

    def vector(self, *_): ...

    def label(self, *_, stands): ...

    def count(self, pipeline, versions):
        described = {event.event_id for event in self.vectors if event.pipeline_version in versions}
        return len(described & {event.event_id for event in self.labels})

    def reach(self, pipeline, versions, rows):
        return self.count(pipeline, versions) >= rows

    def decided(self, decision, at, origin):
        self.decided_on.append((decision, at, origin))

    def started(self, event):
        self.starts.append(event)

    def ended(self, outcome):
        self.ends.append(outcome)

    def promoted(self, event):
        self.promotions.append(event)


@pytest.fixture
def books(pipeline):
    books = Books()
    handlers.on_pipeline_applied(PipelineApplied(BIKES, (pipeline,)), books)
    return books


def rows(books, world, first, last) -> list:
    said = []
    for number in range(first, last):
        said += handlers.on_features(world.vector(number), books, Origin(f"vector-{number}"))
        said += handlers.on_label(world.label(number), books, Origin(f"label-{number}"))
    return said


def drift(world, number, subject="data/temp") -> DriftDetected:
    return DriftDetected(BIKES, subject, "temp drifted", world.hour(number))


@pytest.mark.parametrize(
    ("handler", "event"),
    [
        (handlers.on_features, lambda world: world.vector(1)),
        (handlers.on_label, lambda world: world.label(1)),
        (handlers.on_label_retracted, lambda world: world.retraction(1)),
        (handlers.on_drift, lambda world: drift(world, 1)),
    ],
)
def test_what_comes_before_its_pipeline_waits_for_it(handler, event, world):
    with pytest.raises(UnknownPipelineError):
        list(handler(event(world), Books(), Origin("early")))


@pytest.mark.parametrize(
    ("handler", "event"),
    [
        (handlers.on_promoted, ModelPromoted(BIKES, Champion(ModelVersionNumber(1), 1, 1, "", ""))),
        (handlers.on_rejected, ModelRejected(BIKES, "run")),
        (handlers.on_drift_cleared, DriftCleared(BIKES, "data/temp", Instant(0))),
    ],
)
def test_news_of_an_unknown_pipeline_wait_for_it_as_well(handler, event):
    with pytest.raises(UnknownPipelineError):
        handler(event, Books())


def test_a_promotion_is_kept_with_the_run_that_earned_it(books):
    promoted = ModelPromoted(BIKES, Champion(ModelVersionNumber(1), 1, 1, "", "", "run-7"))

    handlers.on_promoted(promoted, books)

    assert books.promotions == [promoted]


def test_the_first_model_is_asked_for_by_the_very_event_that_makes_the_rows_enough(books, world):
    assert rows(books, world, 0, 59) == []

    [request] = rows(books, world, 59, 70)

    assert isinstance(request, RetrainRequested)
    assert (request.run.trigger, request.run.cause_id, request.labelled) == (
        Trigger.FIRST,
        "label-59",
        60,
    )
    assert request.detail.startswith("60 labelled rows are enough for a first model")


def test_a_smaller_first_model_asked_for_by_a_new_file_comes_with_the_next_event(
    books, world, file
):
    rows(books, world, 0, 30)
    smaller = read_pipeline(file.replace("first: 60", "first: 25"), version=2)
    handlers.on_pipeline_applied(PipelineApplied(BIKES, (*books.files[BIKES], smaller)), books)

    [request] = handlers.on_features(world.vector(30), books, Origin("next"))

    assert (request.run.pipeline_version, request.run.cause_id) == (2, "next")


def test_a_file_with_other_columns_starts_to_count_anew(books, world, file):
    rows(books, world, 0, 60)
    other = read_pipeline(file.replace("hum: float, ", ""), version=2)

    handlers.on_pipeline_applied(PipelineApplied(BIKES, (*books.files[BIKES], other)), books)
    said = list(handlers.on_retrain_command(Retrain(BIKES, "ada", ""), books, Origin("command")))

    assert isinstance(said[0], RetrainSkipped)
    assert said[0].reason is Skip.ALREADY_TRAINING
    assert books.count(BIKES, books.policy(BIKES).versions) == 0


def test_a_commands_time_does_not_move_the_pipelines_clock(books, world):
    rows(books, world, 0, 30)
    before = books.history(BIKES).clock

    [request] = handlers.on_retrain_command(
        Retrain(BIKES, "ada", "new sensors"), books, Origin("command")
    )

    assert request.run.as_of == before == books.history(BIKES).clock
    assert request.detail.startswith("ada asked for it: new sensors; 30 labelled rows")


def test_a_command_for_an_unknown_pipeline_is_answered_and_holds_up_nothing(books):
    [skipped] = handlers.on_retrain_command(
        Retrain(PipelineName("biks"), "", ""), books, Origin("command")
    )

    assert skipped.reason is Skip.TOO_FEW_LABELS
    assert skipped.detail == (
        "somebody asked for it; no file of biks has been applied, so nothing is labelled: check the name"
    )


def test_a_pause_is_kept_even_if_the_file_is_not_there_yet(pipeline, world):
    books = Books()
    handlers.on_pause(PausePipeline(BIKES, paused=True), books)
    handlers.on_pipeline_applied(PipelineApplied(BIKES, (pipeline,)), books)

    assert rows(books, world, 0, 70) == []


def test_every_decision_is_kept_with_what_caused_it(books, world):
    rows(books, world, 0, 61)
    [skipped] = handlers.on_drift(drift(world, 62), books, Origin("drift"))

    [(request, at, origin), (decision, later, by)] = books.decided_on
    assert (request.run.number, at, origin) == (1, world.hour(59), Origin("label-59"))
    assert (decision, later, by) == (skipped, world.hour(62), Origin("drift"))
    assert skipped.detail == "temp drifted; run 1 is going on"


def test_what_was_put_off_is_honoured_before_what_asks_anew(books, world):
    rows(books, world, 0, 60)
    run = books.decided_on[0][0].run
    list(handlers.on_run_skipped(RunSkipped(run, 3, 20), books, Origin("run")))
    [first] = handlers.on_drift(drift(world, 61), books, Origin("drift-1"))

    [honoured, second] = handlers.on_drift(drift(world, 80), books, Origin("drift-2"))

    assert first.reason is Skip.COOLING_DOWN
    assert (honoured.run.cause_id, second.reason) == ("drift-1", Skip.ALREADY_TRAINING)


def test_a_scheduled_run_is_asked_for_when_the_clock_passes_its_time(books, world, file):
    text = file.replace(
        "cooldown: 12h", 'cooldown: 1h\n    on: [schedule]\n    schedule: "0 0 * * *"'
    )
    handlers.on_pipeline_applied(PipelineApplied(BIKES, (read_pipeline(text, version=2),)), books)
    books.put(
        BIKES, replace(books.history(BIKES), champion=Champion(ModelVersionNumber(1), 1, 2, "", ""))
    )
    for number in range(70):
        books.add_vector(world.vector(number, version=2))
        books.add_label(world.label(number))

    said = [
        decision
        for number in (22, 23, 25, 26)
        for decision in handlers.on_features(
            world.vector(number, version=2), books, Origin(f"vector-{number}")
        )
    ]

    assert [request.run.trigger for request in said] == [Trigger.SCHEDULE]
    assert said[0].run.as_of == world.hour(25)


def test_a_run_that_failed_is_told_and_closed(books, world):
    rows(books, world, 0, 60)
    run = books.decided_on[0][0].run

    said = list(handlers.on_run_failed(RunFailed(run, "out of memory", 3.0), books))

    assert said == [TrainingFailed(run, "out of memory")]
    assert books.ends == [RunFailed(run, "out of memory", 3.0)]
    assert books.history(BIKES).going is None
    assert books.history(BIKES).cpu_seconds_today == 3.0


def test_a_run_whose_dataset_is_too_small_is_skipped_with_the_numbers(books, world):
    rows(books, world, 0, 60)
    run = books.decided_on[0][0].run

    [skipped] = handlers.on_run_skipped(RunSkipped(run, 3, 20), books, Origin("run"))

    assert (skipped.reason, skipped.cause.id) == (Skip.TOO_FEW_LABELS, "label-59")
    assert skipped.detail == "run 1 found 3 labelled rows known by then, and 20 are needed"
    assert books.history(BIKES).going is None
    assert books.history(BIKES).last_requested == world.hour(59)
    assert books.policy(BIKES).cooldown == HOUR * 12
