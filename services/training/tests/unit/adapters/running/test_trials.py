"""Trials on their way from a child to the database and back into a search."""

from dataclasses import replace

import pytest

from millrace_contracts.message import Cause as BusCause
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import Instant
from millrace_training.adapters.fitting.job import TrialResult, Winner
from millrace_training.adapters.processes.children import ChildFailedError, Children, Limits
from millrace_training.adapters.running.records import fit_job, trial_of, with_trials
from millrace_training.adapters.sql.books import SqlBooks
from millrace_training.adapters.sql.overview import SqlOverview
from millrace_training.adapters.sql.runs import SqlRuns
from millrace_training.adapters.sql.staging import Tally
from millrace_training.application.handlers import on_run_tried
from millrace_training.domain.events import (
    Cause,
    PipelineApplied,
    RetrainRequested,
    Run,
    RunTried,
    TrialCompleted,
)

BIKES = PipelineName("bikes")
AT = Instant(1_772_323_200_000_000)
ORIGIN = BusCause("id-1", AT, "correlation-1", "")
MINUTE = Limits(60)


def run(number: int) -> Run:
    return Run(BIKES, RunId(f"run-{number}"), number, 1, Trigger.DRIFT, "id-1", AT)


def a_trial(number: int, loss: float, state: str = "complete") -> TrialResult:
    winner = Winner("linear", f'{{"alpha": {loss}}}', 0.5)
    return TrialResult(
        number, "linear", "{}", {"mae": loss}, loss, 0.1, state, winner, "{}", (loss,), 1.5
    )


@pytest.fixture
def keep(database, file):
    def keep(work):
        with database.transaction() as connection:
            books = SqlBooks(connection, Tally())
            result = work(books)
            books.flush()
        return result

    pipeline = read_pipeline(file, version=1)
    keep(lambda books: books.pipelines.apply(PipelineApplied(BIKES, (pipeline,))))
    cause = Cause(Trigger.DRIFT, "id-1", AT, "data/temp", "temp drifted")
    for number in range(1, 6):
        asked = RetrainRequested(run(number), cause, 60, "because")
        keep(lambda books, asked=asked: books.journal.decided(asked, AT, ORIGIN))
    return keep


def test_trials_are_kept_as_they_end_and_are_found_by_the_run_that_goes_on(
    keep, database, tmp_path
):
    trials = [a_trial(1, 3.0), a_trial(2, 2.0, "pruned"), a_trial(3, 1.0)]
    for trial in trials:
        event = RunTried(run(4), trial_of(trial))
        said = keep(lambda books, event=event: list(on_run_tried(event, books)))
        assert said == [TrialCompleted(event.run, event.trial)]

    needs = SqlRuns(database).needs(run(4))
    job = with_trials(
        fit_job(run(4).trigger, needs.pipeline, tmp_path, 1), needs.finished, needs.earlier
    )
    assert job.finished == tuple(trials)
    assert job.earlier == ()

    shown = SqlOverview(database).run(BIKES, 4)
    assert [(trial.number, trial.loss, trial.state) for trial in shown.trials] == [
        (1, 3.0, "complete"),
        (2, 2.0, "pruned"),
        (3, 1.0, "complete"),
    ]
    assert (shown.dataset, shown.record) == (None, None)


def test_a_search_begins_with_the_best_two_of_the_last_three(keep, database, tmp_path):
    for number, losses in ((1, (0.1,)), (2, (3.0, 1.0, 2.0)), (3, (5.0,)), (4, (9.0, 8.0))):
        for place, loss in enumerate(losses):
            event = RunTried(run(number), trial_of(a_trial(place + 1, loss)))
            keep(lambda books, event=event: list(on_run_tried(event, books)))
    pruned = RunTried(run(4), trial_of(a_trial(3, 0.5, "pruned")))
    keep(lambda books: list(on_run_tried(pruned, books)))

    needs = SqlRuns(database).needs(run(5))
    job = with_trials(
        fit_job(run(5).trigger, needs.pipeline, tmp_path, 1), needs.finished, needs.earlier
    )
    assert [trial.loss for trial in job.earlier] == [8.0, 9.0, 5.0, 1.0, 2.0]
    assert job.finished == ()


def test_a_kind_of_model_has_a_name_as_long_as_a_file_may_give_it(keep, database):
    """PostgreSQL refuses what is longer than its column, and the service would stop over it again and again."""
    name = "command:" + "x" * 192
    trial = replace(a_trial(1, 3.0), algorithm=name)
    keep(lambda books: list(on_run_tried(RunTried(run(4), trial_of(trial)), books)))

    assert SqlOverview(database).run(BIKES, 4).trials[0].algorithm == name


async def test_what_the_work_tells_is_heard_in_order_before_its_answer():
    heard = []

    async def hear(number):
        heard.append(number)

    assert (await Children(count_to, int, progress=int).run(5, MINUTE, hear)).result == 5
    assert heard == [1, 2, 3, 4, 5]


async def test_who_cannot_keep_what_is_told_ends_the_work():
    async def away(_):
        raise TransientError("the database is away")

    with pytest.raises(TransientError, match="database is away"):
        await Children(count_to, int, progress=int).run(5, MINUTE, away)


async def test_what_is_told_in_another_form_fails_the_work():
    async def hear(_):
        pytest.fail("heard")

    with pytest.raises(ChildFailedError, match="told what can't be read"):
        await Children(count_to, int, progress=str).run(5, MINUTE, hear)


def count_to(most, tell):
    """Work that tells how far it is."""
    for number in range(1, most + 1):
        tell(number)
    return most
