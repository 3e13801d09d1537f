"""Pytest fixtures that give tests a real Kafka and a real PostgreSQL.

One server of each kind per test session, shared by the workers of pytest-xdist, started when the first test asks for
it. A missing tool fails the test with what to install: a test that is skipped proves nothing.
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from millrace_local.errors import LocalServerError
from millrace_local.guard import end_guard, launch_guarded, lives
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_port, free_ports
from millrace_local.postgres import LocalPostgres
from millrace_local.process import tail
from millrace_local.server import Server
from millrace_testkit.settings import given_servers

_START_SECONDS = 90.0
_POLL_SECONDS = 0.5
_DRIVER = "postgresql+psycopg://"


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """A real broker. Use topics and groups with names of your own: other tests run on it at the same time."""

    bootstrap: str


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A real PostgreSQL. `url` is its maintenance database; make one of your own instead of creating tables in it."""

    url: str

    def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop_database(self, url: str) -> None:
        """Remove a database that `create_database` made, whoever is still connected to it."""
        name = str(conninfo_to_dict(_plain(url))["dbname"])
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(_plain(self.url), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def kafka(_server_session: "_Session") -> KafkaServer:
    """The session's Kafka broker; `MILLRACE_TEST_KAFKA` names one that runs already."""
    given = given_servers().kafka
    return KafkaServer(given or _server_session.address_of("kafka", _new_kafka))


@pytest.fixture(scope="session")
def postgres(_server_session: "_Session") -> PostgresServer:
    """The session's PostgreSQL; `MILLRACE_TEST_POSTGRES` names one that runs already."""
    given = given_servers().postgres
    return PostgresServer(given or _server_session.address_of("postgres", _new_postgres))


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, for one test."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The SQLAlchemy URL of an empty database: what asks for it holds on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture(scope="session")
def _server_session(request: pytest.FixtureRequest) -> Iterator["_Session"]:
    workerinput: dict[str, str] | None = getattr(request.config, "workerinput", None)
    if workerinput is None:
        session = _Session(name=secrets.token_hex(6), owner=os.getpid())
        yield session
        session.end()
    else:
        # A worker's parent is the process that runs the session. Workers don't know who is last: the guards end the
        # servers when that process is gone.
        yield _Session(name=workerinput["testrunuid"], owner=os.getppid())


@dataclass(frozen=True, slots=True)
class _Session:
    """The servers of one test run, which live as long as process `owner` at most."""

    name: str
    owner: int

    @property
    def folder(self) -> Path:
        # not pytest's tmp_path: that is closed to others, and PostgreSQL does not run as root
        return Path(tempfile.gettempdir(), f"millrace-test-{self.name}")

    def address_of(self, name: str, new: Callable[[Path], tuple[Server, str]]) -> str:
        """Start the server unless another worker has; where it is."""
        with self._locked():
            note = self.folder / name / "started.json"
            if not note.is_file():
                note.parent.mkdir(exist_ok=True)
                guard, address = _start(note.parent, self.owner, new)
                note.write_text(json.dumps({"guard": guard, "address": address}))
            return str(json.loads(note.read_text())["address"])

    def end(self) -> None:
        """End what was started, and return when it has ended."""
        for note in self.folder.glob("*/started.json"):
            end_guard(int(json.loads(note.read_text())["guard"]))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o755, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _start(folder: Path, owner: int, new: Callable[[Path], tuple[Server, str]]) -> tuple[int, str]:
    """Start a server in `folder` and wait until it answers; its guard's process id, and its address."""
    log = folder / "server.log"
    try:
        server, address = new(folder / "home")
    except LocalServerError as error:
        _remove(folder)
        pytest.fail(str(error), pytrace=False)
    guard = launch_guarded(server, log=log, watch=owner, remove=folder)
    for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
        if server.ready(_POLL_SECONDS):
            return guard, address
        if not lives(guard):
            break
    failure = f"{server.name} did not start; the end of its log:\n{tail(log)}"
    end_guard(guard)
    _remove(folder)
    pytest.fail(failure, pytrace=False)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another server of this session is in there
        folder.parent.rmdir()


def _new_kafka(home: Path) -> tuple[Server, str]:
    port, controller_port = free_ports(2)
    server = LocalKafka(home=home, port=port, controller_port=controller_port, jars=kafka_jars())
    server.prepare()
    return server, server.bootstrap


def _new_postgres(home: Path) -> tuple[Server, str]:
    server = LocalPostgres(home=home, port=free_port())
    server.prepare()
    return server, server.url()


def _plain(url: str) -> str:
    """The URL as PostgreSQL's own library reads it."""
    return "postgresql://" + url.removeprefix(_DRIVER)
