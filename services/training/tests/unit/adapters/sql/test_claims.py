"""What one process at a time may do, of all that work on one database: on a real PostgreSQL, and on SQLite."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import event, select, text

from millrace_bus.sql import Database, DatabaseAwayError
from millrace_testkit.eventually import eventually
from millrace_training.adapters.sql.claims import Claims

STANDSTILL_SECONDS = 0.2


@pytest.fixture
def new_database(postgres_database: str) -> Iterator[Callable[[], Database]]:
    """The database, by connections of one's own."""
    made: list[Database] = []

    def new_database() -> Database:
        found = Database(postgres_database, longest_standstill_seconds=STANDSTILL_SECONDS)
        made.append(found)
        return found

    yield new_database
    for database in made:
        database.close()


@pytest.fixture
def process(new_database) -> Iterator[Callable[[], Claims]]:
    """Another process's claims."""
    made: list[Claims] = []

    def process() -> Claims:
        made.append(Claims(new_database()))
        return made[-1]

    yield process
    for claims in made:
        for name in list(claims._held):
            claims.give_back(name)


@pytest.mark.db
def test_what_one_has_claimed_no_other_gets_until_it_is_given_back(process):
    one, other = process(), process()

    assert one.take("bikes")
    assert not other.take("bikes")
    one.give_back("bikes")
    assert other.take("bikes")
    assert not one.take("bikes")


@pytest.mark.db
def test_each_name_is_claimed_alone(process):
    one, other = process(), process()

    assert one.take("bikes")
    assert one.take("flights")
    one.give_back("bikes")
    assert other.take("bikes")
    assert not other.take("flights")


@pytest.mark.db
def test_giving_back_what_another_holds_takes_nothing_from_it(process):
    one, other, third = process(), process(), process()
    assert one.take("bikes")
    assert not other.take("bikes")

    other.give_back("bikes")

    assert not third.take("bikes")


@pytest.mark.db
async def test_a_claim_outlasts_what_ends_a_transaction_in_which_nothing_happens(
    process, new_database
):
    """A fit takes minutes: its claim must not end with the patience that there is for a process that stands still."""
    one, other = process(), process()
    assert one.take("bikes")

    await has_ended(new_database(), new_database())

    assert not other.take("bikes")
    one.give_back("bikes")
    assert other.take("bikes")


async def has_ended(standing: Database, watching: Database) -> None:
    """Until a transaction that was begun later, and in which nothing happens, was ended."""
    there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    def is_over(pid: int) -> bool:
        with watching.reading() as connection:
            return connection.execute(there, {"pid": pid}).scalar_one() == 0

    with pytest.raises(DatabaseAwayError), standing.reading() as idle:  # noqa: PT012  the last use is what raises
        pid = idle.execute(text("SELECT pg_backend_pid()")).scalar_one()
        await eventually(lambda: is_over(pid), what="it is over")
        idle.execute(select(1))


@pytest.mark.db
async def test_a_claim_outlasts_those_who_end_standstills(process, new_database):
    """Whoever has waited for a lock for too long ends the transactions in which nothing happens."""
    one, other = process(), process()
    assert one.take("bikes")
    await asyncio.sleep(2 * STANDSTILL_SECONDS)

    new_database()._end_standstills()

    assert not other.take("bikes")


@pytest.mark.db
async def test_what_a_process_that_dies_had_claimed_is_free(process, new_database):
    one, other = process(), process()
    assert one.take("bikes")

    cut_off(new_database())

    assert await eventually(lambda: other.take("bikes"))


@pytest.mark.db
async def test_a_claim_whose_connection_was_lost_is_given_back_in_silence(process, new_database):
    """What it was for is over; that its connection was lost meanwhile is no reason to begin it again."""
    one = process()
    assert one.take("bikes")
    cut_off(new_database())

    one.give_back("bikes")

    assert await eventually(lambda: one.take("bikes"))


@pytest.mark.db
async def test_a_claim_that_cannot_be_given_back_goes_with_its_connection(process):
    """Else the pool would hand the connection on with the lock still held."""
    one, other = process(), process()
    assert one.take("bikes")

    @event.listens_for(one._database.engine, "before_cursor_execute", retval=True)
    def failing(connection, cursor, statement, *_):
        return "SELECT 1 / 0", {}

    one.give_back("bikes")

    assert await eventually(lambda: other.take("bikes"))


def cut_off(database: Database) -> None:
    """End the connection by which a claim is held, as when its process is killed."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with database.reading() as connection:
        assert connection.execute(text(query)).scalars().all() == [True]


@pytest.mark.db
def test_connections_go_back_to_the_pool_with_their_claims(process):
    one, other = process(), process()
    for _ in range(20):  # more than there are in the pool
        assert one.take("bikes")
        assert not other.take("bikes")
        one.give_back("bikes")

    assert [each._database.engine.pool.checkedout() for each in (one, other)] == [0, 0]


def test_a_sqlite_file_has_one_process(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    claims = Claims(database)

    assert claims.take("bikes")
    claims.give_back("bikes")
    claims.give_back("bikes")
    assert claims.take("bikes")
    database.close()
