"""The servers that all tests share."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from millrace_local.probes import wait_until
from millrace_testkit.servers import KafkaServer, PostgresServer


@pytest.mark.broker
def test_there_is_a_broker(kafka: KafkaServer):
    host, port = kafka.bootstrap.split(":")

    socket.create_connection((host, int(port)), timeout=5).close()


@pytest.mark.db
def test_each_database_is_its_own(postgres: PostgresServer):
    one, other = postgres.create_database(), postgres.create_database()
    with psycopg.connect(one.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(other.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)

    postgres.drop_database(one)
    postgres.drop_database(other)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one.replace("+psycopg", ""))


@pytest.mark.db
def test_a_test_may_have_a_database_of_its_own(postgres_database: str):
    with psycopg.connect(postgres_database.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE mine (id int)")


def run_session(
    folder: Path, source: str, *flags: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A test session of its own, with the shared fixtures."""
    (folder / "test_inner.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "millrace_testkit.servers", "-q", *flags],
        cwd=folder,
        env={
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(sys.path),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_missing_tool_fails_and_says_what_to_install(tmp_path: Path):
    source = "def test_inner(kafka): pass"

    answer = run_session(tmp_path, source, PATH=str(tmp_path), TMPDIR=str(tmp_path))

    assert answer.returncode == 1
    assert not list(tmp_path.glob("millrace-test-*"))
    assert "No java found: Kafka needs Java 17 or newer" in answer.stdout
    assert "1 error" in answer.stdout


def test_given_servers_are_taken_as_they_are(tmp_path: Path):
    source = "def test_inner(kafka): assert kafka.bootstrap == 'kafka:9092'"

    answer = run_session(tmp_path, source, PATH=str(tmp_path), MILLRACE_TEST_KAFKA="kafka:9092")

    assert answer.returncode == 0, answer.stdout


@pytest.mark.db
def test_parallel_workers_share_a_server_that_ends_with_them(tmp_path: Path):
    source = """
import pathlib, pytest, time
@pytest.mark.parametrize("number", range(4))
def test_inner(postgres, number):
    pathlib.Path(str(number)).write_text(postgres.url)
    time.sleep(0.3)
"""

    answer = run_session(tmp_path, source, "-n", "2", "-p", "xdist")

    assert answer.returncode == 0, answer.stdout
    (url,) = {(tmp_path / str(number)).read_text() for number in range(4)}
    assert wait_until(lambda: not accepts(url), 10)


def accepts(url: str) -> bool:
    try:
        psycopg.connect(url.replace("+psycopg", "")).close()
    except psycopg.OperationalError:
        return False
    return True
