"""A server's processes: found, counted, ended."""

import os
import sys
import time
from pathlib import Path

import pytest
from benchmarks.serving.processes import ContenderFailedError, PinnedServer

# a child that leaves the session, as daemons do, and both work and wait
DAEMON = """
import os, sys, time
def work(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    work(0.3)
    open("working", "w").close()
    time.sleep(60)
    os._exit(0)
os.wait()
work(0.2)
open("ready", "w").close()
time.sleep(60)
"""


def server(tmp_path: Path, script: str) -> PinnedServer:
    core = min(os.sched_getaffinity(0))
    return PinnedServer("peer", [sys.executable, "-c", script], {}, core, tmp_path / "log")


def wait_for(server: PinnedServer, *paths: Path) -> None:
    while not all(path.exists() for path in paths):
        server.check()
        time.sleep(0.02)


def test_all_that_a_server_starts_is_on_its_core_counted_and_ended(tmp_path):
    with server(tmp_path, DAEMON) as running:
        wait_for(running, tmp_path / "ready", tmp_path / "working")
        family = running.family()
        assert len(family) == 2
        assert all(os.sched_getaffinity(pid) == {min(os.sched_getaffinity(0))} for pid in family)
        assert running.cpu_seconds() >= 0.45

    assert running.family() == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_what_moves_to_another_core_is_brought_back(tmp_path):
    script = (
        "import os, time; os.sched_setaffinity(0, range(os.cpu_count()));"
        "open('ready', 'w').close(); time.sleep(60)"
    )
    with server(tmp_path, script) as running:
        wait_for(running, tmp_path / "ready")
        running.pin()
        assert [os.sched_getaffinity(pid) for pid in running.family()] == [
            {min(os.sched_getaffinity(0))}
        ]


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path):
    with server(tmp_path, "raise SystemExit('no model')") as running:
        running._process.wait()
        with pytest.raises(ContenderFailedError, match=r"exit code 1(.|\n)*no model"):
            running.check()


def test_one_that_ignores_the_signal_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.serving.processes._STOP_SECONDS", 0.2)
    monkeypatch.setattr("benchmarks.serving.processes._INSIST_SECONDS", 0.2)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "open('ready', 'w').close(); time.sleep(60)"
    )
    with server(tmp_path, script) as running:
        wait_for(running, tmp_path / "ready")

    assert running.family() == []
