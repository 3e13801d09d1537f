"""A real PostgreSQL, also for root; and what is said when there is none."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from millrace_local.errors import LocalServerError, MissingToolError
from millrace_local.ports import free_port
from millrace_local.postgres import LocalPostgres, find_postgres
from millrace_local.process import start


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can pass through; pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="millrace-postgres-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_missing_server_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        MissingToolError, match=r"apt-get install --no-install-recommends postgresql"
    ):
        find_postgres(debian=tmp_path)


def test_the_newest_of_debians_versions_is_taken(tmp_path: Path):
    for version in ("9.6", "15", "17"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for program in ("initdb", "postgres"):
            (folder / program).touch()

    assert find_postgres(debian=tmp_path) == tmp_path / "17" / "bin"


def test_a_closed_folder_is_named(tmp_path: Path):
    tmp_path.chmod(0o700)
    server = LocalPostgres(tmp_path / "home", port=1, programs=tmp_path, run_as="nobody")

    with pytest.raises(LocalServerError, match=r"`nobody` can't pass through"):
        server.prepare()


@pytest.mark.db
def test_it_serves_and_keeps_what_it_was_told(open_folder: Path):
    home, log = open_folder / "home", open_folder / "log"
    first = LocalPostgres(home, free_port())
    with start(first, log), psycopg.connect(libpq(first)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    second = LocalPostgres(home, free_port())
    with start(second, log), psycopg.connect(libpq(second)) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.db
def test_it_takes_nobody_without_the_password(open_folder: Path):
    server = LocalPostgres(open_folder / "home", free_port())

    with start(server, open_folder / "log"):
        wrong = libpq(server).replace(server.password, "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


@pytest.mark.db
def test_an_attempt_that_was_killed_half_way_is_done_again(open_folder: Path):
    server = LocalPostgres(open_folder / "home", free_port())
    server.prepare()
    (server.home / "unfinished").touch()
    (server.home / "data" / "global" / "pg_control").unlink()

    with start(server, open_folder / "log") as running:
        assert running.alive


@pytest.mark.db
@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to somebody else")
def test_for_root_it_runs_as_somebody_else(open_folder: Path):
    server = LocalPostgres(open_folder / "home", free_port())

    with start(server, open_folder / "log") as running:
        assert Path(f"/proc/{running.pid}").stat().st_uid != 0


def libpq(server: LocalPostgres) -> str:
    return server.url().replace("+psycopg", "")
