"""How many events have both a vector and a label that stands: exactly, however they come."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event
from sqlalchemy import text

from millrace_bus.sql import Database
from millrace_kernel.ids import EventId, PipelineName
from millrace_kernel.time import Instant
from millrace_training import adapters
from millrace_training.adapters.sql.labelled import SqlLabelledRows, forget_settled

BIKES = PipelineName("bikes")
BOTH = frozenset({1, 2})
MIGRATIONS = Path(adapters.__file__).parent / "migrations"

vectors = st.tuples(st.just("vector"), st.integers(0, 5), st.integers(1, 2))
labels = st.tuples(st.sampled_from(["label", "retraction"]), st.integers(0, 5), st.integers(0, 4))
batches = st.lists(st.lists(st.one_of(vectors, labels), max_size=8), max_size=6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('labelled') / 'training.db'}")
    database.migrate(MIGRATIONS)
    yield database
    database.close()


def say(rows: SqlLabelledRows, what: str, event: int, number: int) -> None:
    event_id = EventId(f"e{event}")
    if what == "vector":
        rows.vector(BIKES, event_id, number)
    else:
        rows.label(BIKES, event_id, Instant(number), stands=what == "label")


def by_hand(said, versions) -> int:
    """The same, written for reading: what is known of each event in the end."""
    count = 0
    for event in range(6):
        version = [number for what, which, number in said if which == event and what == "vector"][
            -1:
        ]
        told = [
            (number, place, what)
            for place, (what, which, number) in enumerate(said)
            if which == event and what != "vector"
        ]
        count += bool(version and version[0] in versions and told and max(told)[2] == "label")
    return count


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches, st.integers(1, 6))
def test_the_count_is_what_a_person_would_count(shared, batches, asked):
    with shared.transaction() as connection:
        for table in ("sides", "labelled_rows"):
            connection.execute(text(f"DELETE FROM {table}"))
    said = []
    for batch in batches:
        with shared.transaction() as connection:
            rows = SqlLabelledRows(connection)
            for one in batch:
                say(rows, *one)
                said.append(one)
                assert rows.reach(BIKES, BOTH, asked) == (by_hand(said, BOTH) >= asked)
            assert rows.count(BIKES, frozenset({1})) == by_hand(said, {1})
            rows.flush()


def test_as_long_as_it_cannot_be_enough_nothing_is_looked_up(database):
    queries = []
    with database.transaction() as connection:
        rows = SqlLabelledRows(connection)
        rows.count(BIKES, BOTH)
        sql_event.listen(
            database.engine, "before_cursor_execute", lambda *args: queries.append(args[2])
        )
        for number in range(99):
            rows.vector(BIKES, EventId(f"e{number}"), 1)
            assert not rows.reach(BIKES, BOTH, 100)
        assert queries == []
        rows.vector(BIKES, EventId("e99"), 1)
        assert not rows.reach(BIKES, BOTH, 100)
        assert len(queries) == 1


def test_events_that_are_no_longer_corrected_are_forgotten_but_stay_counted(database):
    with database.transaction() as connection:
        rows = SqlLabelledRows(connection)
        for number in range(10):
            rows.vector(BIKES, EventId(f"e{number}"), 1)
            rows.label(BIKES, EventId(f"e{number}"), Instant(number), stands=number != 3)
        rows.flush()
        forget_settled(connection, BIKES, Instant(6))

    with database.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM sides")).scalar() == 5
        rows = SqlLabelledRows(connection)
        assert rows.count(BIKES, BOTH) == 9
        rows.label(BIKES, EventId("e8"), Instant(20), stands=False)
        rows.label(BIKES, EventId("e3"), Instant(20), stands=True)
        assert rows.count(BIKES, BOTH) == 9
