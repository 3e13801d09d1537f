"""A service's database: transactions, passing failures told apart from broken ones, migrations."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from millrace_kernel.errors import TransientError

_SQLITE_PASSING = (
    "locked",
    "busy",
    "disk is full",
    "disk i/o error",
    "unable to open database file",
)
_BUSY_MILLISECONDS = 30_000
_READ_ONLY = "millrace_read_only"
LONGEST_STANDSTILL_SECONDS = 10.0
# Sessions of this account that have been waiting for their own process for so long, in the middle of a transaction
_END_STANDSTILLS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
      AND wait_event_type = 'Client' AND xact_start IS NOT NULL
      AND state_change < clock_timestamp() - make_interval(secs => :seconds)
"""


class DatabaseAwayError(TransientError):
    """The database did not do what was asked of it, now."""


class Database:
    """SQLite or PostgreSQL behind one door. Synchronous: the bus calls it in a thread."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        longest_standstill_seconds: float = LONGEST_STANDSTILL_SECONDS,
    ) -> None:
        """`longest_standstill_seconds`: a transaction in which its process does nothing for so long is ended.

        PostgreSQL does that by itself between two statements. In the middle of a pipelined batch it waits for ever, so
        whoever has waited for a lock for half as long ends such transactions of the others (see `_told`).
        """
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite and parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(url, pool_pre_ping=not self.is_sqlite, pool_size=pool_size)
        # SQLite's own waiting for a writer sleeps up to 100 ms at a time; within a process a lock hands over at once
        self._writing: AbstractContextManager[Any] = (
            threading.Lock() if self.is_sqlite else nullcontext()
        )
        self._shown_url = parsed.render_as_string(hide_password=True)
        self._longest_standstill_seconds = longest_standstill_seconds
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
        else:
            _prepare_postgresql(self.engine, longest_standstill_seconds)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing. Raises DatabaseAwayError for what may pass."""
        with self._writing, self._told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view, for queries only; never waits for a writer."""
        with (
            self._told(),
            self.engine.connect().execution_options(**{_READ_ONLY: True}) as connection,
        ):
            yield connection

    def migrate(self, scripts: Path) -> None:
        """Bring the schema to the newest of the Alembic scripts in this folder."""
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.set_main_option("path_separator", "os")
        with self._writing, self._told(), self.engine.begin() as connection:
            if not self.is_sqlite:  # it may have to wait while another instance migrates
                connection.execute(text("SET LOCAL lock_timeout = 0"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, LockNotAvailable):
                self._end_standstills()
            if _may_pass(error, self.is_sqlite):
                raise DatabaseAwayError(f"database {self._shown_url}: {error.orig}") from error
            raise

    def _end_standstills(self) -> None:
        """PostgreSQL 17 has `transaction_timeout` for it; the ones before have not."""
        with self.engine.begin() as connection:
            connection.execute(
                text(_END_STANDSTILLS), {"seconds": self._longest_standstill_seconds}
            )


def run_migrations(metadata: MetaData) -> None:
    """The whole of a service's `migrations/env.py`."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def _may_pass(error: DBAPIError, is_sqlite: bool) -> bool:
    if is_sqlite:
        return isinstance(error, OperationalError) and any(
            sign in str(error.orig).lower() for sign in _SQLITE_PASSING
        )
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _prepare_sqlite(engine: Engine) -> None:
    """Write-ahead logging, one writer at a time that waits its turn, and transactions begun by SQLAlchemy alone."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:  # noqa: ARG001  SQLAlchemy's signature
        connection.isolation_level = None
        cursor = connection.cursor()
        # NORMAL: a crash of the machine may take back the newest transactions as a whole, position included, and they
        # are done again from Kafka; a crash of the process takes back nothing.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={_BUSY_MILLISECONDS}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(engine: Engine, longest_standstill_seconds: float) -> None:
    """A process that stands still (stopped, paused with its machine) must not keep its locks from the others."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:  # noqa: ARG001  SQLAlchemy's signature
        milliseconds = round(longest_standstill_seconds * 1_000)
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}")
            cursor.execute(f"SET lock_timeout = {milliseconds // 2}")
        connection.commit()
