"""What one process at a time may do, of all that work on one database."""

import hashlib
from contextlib import ExitStack

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from millrace_bus.sql import Database


class Claims:
    """This process's. Synchronous.

    A process that dies gives its claims back with its connections, so nobody has to wait for a lease. PostgreSQL holds one for
    the session and not for a transaction: a fit takes minutes, and a transaction in which nothing happens is ended before.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, ExitStack] = {}

    def take(self, name: str) -> bool:
        """Whether it is ours now, until `give_back`."""
        with ExitStack() as claim:
            if not self._database.is_sqlite:  # a SQLite file has one process
                connection = claim.enter_context(self._database.reading())
                connection.execution_options(isolation_level="AUTOCOMMIT")
                locked = select(func.pg_try_advisory_lock(_key(name)))
                if not connection.execute(locked).scalar_one():
                    return False
                claim.callback(_unlock, connection, name)
            self._held[name] = claim.pop_all()
            return True

    def give_back(self, name: str) -> None:
        """What is not held stays so."""
        if (claim := self._held.pop(name, None)) is not None:
            claim.close()


def _unlock(connection: Connection, name: str) -> None:
    """A lost connection has given it back already; one that only fails must not keep it in the pool."""
    try:
        connection.execute(select(func.pg_advisory_unlock(_key(name))))
    except DBAPIError:
        connection.invalidate()


def _key(name: str) -> int:
    """As one of PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
