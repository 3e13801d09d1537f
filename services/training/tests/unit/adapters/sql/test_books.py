"""What the handlers keep, in SQL."""

import pytest

from millrace_contracts.message import Cause as BusCause
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import Instant
from millrace_training.adapters.sql.books import SqlBooks
from millrace_training.adapters.sql.overview import SqlOverview
from millrace_training.adapters.sql.runs import SqlRuns
from millrace_training.adapters.sql.staging import Tally
from millrace_training.application.ports import UnknownPipelineError
from millrace_training.domain.costs import Prices
from millrace_training.domain.events import (
    Candidate,
    Cause,
    Champion,
    Dataset,
    PipelineApplied,
    RetrainRequested,
    RetrainSkipped,
    Run,
    RunFinished,
    RunStarted,
    Skip,
)
from millrace_training.domain.retraining import Going, History, Tried

BIKES = PipelineName("bikes")
AT = Instant(1_772_323_200_000_000)
ORIGIN = BusCause(
    "id-1", AT, "correlation-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)
CAUSE = Cause(Trigger.DRIFT, "id-1", AT, "data/temp", "temp drifted")
LONGEST_NAME = "command:" + "x" * 192  # that a pipeline file may give a candidate
DATASET = Dataset("file:///d", "dd", 10, 60, 4, 5, AT, AT)


@pytest.fixture
def keep(database):
    """Do something with the books in a transaction of its own."""

    def keep(work):
        with database.transaction() as connection:
            books = SqlBooks(connection, Tally())
            result = work(books)
            books.flush()
        return result

    return keep


def run(number: int) -> Run:
    return Run(BIKES, RunId(f"run-{number}"), number, 1, Trigger.DRIFT, "id-1", AT)


def request(number: int) -> RetrainRequested:
    return RetrainRequested(run(number), CAUSE, 60, "because")


def test_a_history_comes_back_as_it_was_put(keep):
    history = History(
        clock=AT,
        paused=True,
        runs=7,
        going=Going(7, CAUSE),
        last_requested=AT,
        day=20513,
        runs_today=2,
        cpu_seconds_today=1.5,
        schedule_due=AT,
        pending=(CAUSE, CAUSE),
        tried=Tried(RunId("run-7"), 1, 60, refused=True),
        champion=Champion(ModelVersionNumber(3), 4, 1, "file:///a", "aa"),
    )

    keep(lambda books: books.pipelines.put(BIKES, history))

    assert keep(lambda books: books.pipelines.history(BIKES)) == history


def test_a_pipeline_that_was_only_paused_is_still_unknown(keep):
    keep(lambda books: books.pipelines.put(BIKES, History(paused=True)))

    assert not keep(lambda books: books.pipelines.knows(BIKES))
    with pytest.raises(UnknownPipelineError):
        keep(lambda books: books.pipelines.policy(BIKES))


def test_files_with_the_same_columns_and_truth_are_learnt_from_together(keep, file):
    texts = [
        file,
        file.replace("cooldown: 12h", "cooldown: 1h"),
        file.replace("hum: float, ", ""),
        file.replace("field: cnt", "field: hired"),
        file.replace("first: 60", "first: 50"),
    ]
    versions = tuple(read_pipeline(text, version=number) for number, text in enumerate(texts, 1))

    keep(lambda books: books.pipelines.apply(PipelineApplied(BIKES, versions)))

    policy = keep(lambda books: books.pipelines.policy(BIKES))
    assert (policy.version, policy.versions, policy.first_after) == (5, {1, 2, 5}, 50)


def test_a_files_money_is_counted_at_the_operators_prices(database, pipeline):
    prices = Prices(cpu_hour=0.05, currency="EUR")
    with database.transaction() as connection:
        books = SqlBooks(connection, Tally(), prices)
        books.pipelines.apply(PipelineApplied(BIKES, (pipeline,)))

        assert books.pipelines.policy(BIKES).prices == prices


def test_an_older_file_that_comes_late_does_not_replace_the_one_in_force(keep, pipeline, file):
    newer = read_pipeline(file.replace("cooldown: 12h", "cooldown: 1h"), version=2)
    keep(lambda books: books.pipelines.apply(PipelineApplied(BIKES, (newer,))))
    keep(lambda books: books.pipelines.apply(PipelineApplied(BIKES, (pipeline,))))

    assert keep(lambda books: books.pipelines.policy(BIKES)).version == 2


def test_runs_wait_in_the_order_in_which_they_were_asked_for_with_what_caused_them(keep, database):
    keep(lambda books: [books.journal.decided(request(number), AT, ORIGIN) for number in (1, 2)])

    waiting = SqlRuns(database).open()

    assert [one.run for one in waiting] == [run(1), run(2)]
    assert waiting[0].origin == ORIGIN


def test_a_run_that_started_is_open_with_its_dataset_until_it_ends(keep, database, pipeline):
    runs = SqlRuns(database)
    keep(lambda books: books.pipelines.apply(PipelineApplied(BIKES, (pipeline,))))
    keep(lambda books: books.journal.decided(request(1), AT, ORIGIN))
    assert runs.needs(run(1)).dataset is None

    keep(lambda books: books.journal.started(RunStarted(run(1), DATASET)))
    assert [one.run for one in runs.open()] == [run(1)]
    assert runs.needs(run(1)).dataset == DATASET

    candidate = Candidate(
        LONGEST_NAME,
        "{}",
        "file:///a",
        "aa",
        b"signature",
        "key",
        40,
        20,
        {"mae": 1.5},
        {},
        0,
        0.0,
        b"",
        1.0,
        2.0,
        ("small", "new"),
    )
    keep(lambda books: books.journal.ended(RunFinished(run(1), DATASET, candidate)))
    assert runs.open() == []
    [view] = SqlOverview(database).runs(BIKES, 10)
    assert (view.state, view.algorithm) == ("finished", LONGEST_NAME)
    assert (view.state, view.metrics, view.cpu_seconds, view.reason) == (
        "finished",
        {"mae": 1.5},
        2.0,
        "small; new",
    )


def test_what_is_rolled_back_never_was(database, pipeline):
    class CutOffError(Exception):
        pass

    def all_but_the_end() -> None:
        with database.transaction() as connection:
            books = SqlBooks(connection, Tally())
            books.pipelines.apply(PipelineApplied(BIKES, (pipeline,)))
            books.journal.decided(request(1), AT, ORIGIN)
            books.flush()
            raise CutOffError

    with pytest.raises(CutOffError):
        all_but_the_end()

    assert SqlRuns(database).open() == []
    assert SqlOverview(database).pipelines() == []


def test_decisions_are_kept_with_their_reasons_the_newest_first(keep, database):
    skipped = RetrainSkipped(BIKES, CAUSE, Skip.PAUSED, "the pipeline is paused")
    keep(lambda books: books.journal.decided(request(1), AT, ORIGIN))
    keep(lambda books: books.journal.decided(skipped, AT, ORIGIN))

    newest, oldest = SqlOverview(database).decisions(BIKES, 10)

    assert (newest.reason, newest.detail, newest.run_number) == (
        "paused",
        "the pipeline is paused",
        None,
    )
    assert (oldest.requested, oldest.run_number, oldest.at) == (
        True,
        1,
        "2026-03-01T00:00:00.000000Z",
    )
