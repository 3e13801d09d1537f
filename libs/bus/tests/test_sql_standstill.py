"""A process that stands still in the middle of a transaction does not keep its locks from the others."""

import asyncio

import psycopg
import pytest
from sqlalchemy import insert, select

from millrace_bus.sql import Database
from millrace_kernel.errors import TransientError
from millrace_testkit.counting_sql import COUNTS, METADATA
from millrace_testkit.servers import PostgresServer

pytestmark = pytest.mark.db


async def test_a_process_that_stands_still_does_not_keep_its_locks(
    postgres: PostgresServer,
) -> None:
    url = postgres.create_database()
    still, other = Database(url, longest_standstill_seconds=0.5), Database(url)
    with still.transaction() as connection:
        METADATA.create_all(connection)
        connection.execute(insert(COUNTS), {"entity": "a", "count": 0, "total": 0.0})
    locking = select(COUNTS.c.count).where(COUNTS.c.entity == "a").with_for_update()

    def wait_for_it() -> int:
        with other.transaction() as connection:
            return int(connection.execute(locking).scalar_one())

    with pytest.raises(TransientError), still.transaction() as connection:  # noqa: PT012  the end is what raises
        connection.execute(locking)
        assert await asyncio.wait_for(asyncio.to_thread(wait_for_it), 60) == 0
        connection.execute(locking)

    with still.transaction() as connection:  # by a new connection
        assert connection.execute(locking).scalar_one() == 0
    still.close()
    other.close()


async def test_a_process_that_stands_still_in_a_pipelined_batch_does_not_keep_its_locks_either(
    postgres: PostgresServer,
) -> None:
    """PostgreSQL waits for the rest of the batch for ever: for it the transaction is active, not idle."""
    url = postgres.create_database()
    other = Database(url, longest_standstill_seconds=0.5)
    with other.transaction() as connection:
        METADATA.create_all(connection)
        connection.execute(insert(COUNTS), {"entity": "a", "count": 0, "total": 0.0})
    still = psycopg.connect(url.replace("+psycopg", ""))
    still.execute("SET idle_in_transaction_session_timeout = 100")
    still.commit()
    locking = select(COUNTS.c.count).where(COUNTS.c.entity == "a").with_for_update()
    attempts = 0
    with pytest.raises(psycopg.OperationalError), still.pipeline():  # noqa: PT012  the end is what raises
        still.execute("UPDATE counts SET count = 1")
        still.pgconn.send_flush_request()
        still.pgconn.flush()
        while True:
            attempts += 1
            try:
                with other.transaction() as connection:
                    assert connection.execute(locking).scalar_one() == 0
                break
            except TransientError:
                assert attempts < 100
    assert attempts > 1  # it did have the lock
    other.close()
