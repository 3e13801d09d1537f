"""Ending a stack from outside: by process id, and only what is of this home."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.settings import Settings, inherited_environment
from millrace.supervisor import stack_file
from millrace.supervisor.control import end_stack, leftovers, running_stack
from millrace.supervisor.logs import rotate, tail
from millrace.supervisor.stack_file import MARK, ProcessState, Seen, Stack

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.of({"MILLRACE_HOME": str(tmp_path)})


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that a killed supervisor of this home has left behind."""
    environment = inherited_environment() | {MARK: str(tmp_path)}
    with subprocess.Popen(SLEEP, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def stack_with(settings: Settings, process: Seen | None) -> Stack:
    state = ProcessState("features", process, 8102, "http://here", None, 0, "log")
    gone = Seen(process.pid if process else 1, 1.0)
    return Stack(str(settings.home), gone, "then", "here:1", None, (state,))


def test_what_a_killed_supervisor_left_is_ended_by_its_mark(
    settings: Settings, sleeper: subprocess.Popen[bytes]
) -> None:
    told: list[str] = []
    assert end_stack(settings, told.append) == 1
    assert sleeper.wait(5) == -signal.SIGTERM
    assert told == ["ending 1 processes that a killed supervisor left behind"]


def test_what_the_stack_file_names_is_found_once(
    settings: Settings, sleeper: subprocess.Popen[bytes]
) -> None:
    seen = stack_file.seen(sleeper.pid)
    assert leftovers(settings, stack_with(settings, seen)) == [("features", seen)]


def test_processes_of_another_home_are_left_alone(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    other = Settings.of({"MILLRACE_HOME": str(tmp_path / "other")})
    assert end_stack(other, lambda _: None) == 0
    assert sleeper.poll() is None


def test_a_reused_process_id_is_left_alone(
    settings: Settings, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    other = Settings.of({"MILLRACE_HOME": str(tmp_path / "other")})
    stale = Seen(sleeper.pid, stack_file.seen(sleeper.pid).created - 3600)
    stack_file.write(other.stack_file, stack_with(other, stale))
    assert end_stack(other, lambda _: None) == 0
    assert sleeper.poll() is None
    assert not other.stack_file.exists()


def test_a_stack_whose_supervisor_is_gone_does_not_run(settings: Settings) -> None:
    stack_file.write(settings.stack_file, stack_with(settings, None))
    assert running_stack(settings) is None


def test_logs_are_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for text in ("first", "second", "third", "fourth"):
        log.write_text(text)
        rotate(log, largest=5, kept=2)
    log.write_text("new")
    rotate(log, largest=5, kept=2)
    assert log.read_text() == "new"
    assert (tmp_path / "a.log.1").read_text() == "fourth"
    assert (tmp_path / "a.log.2").read_text() == "third"
    assert len(list(tmp_path.iterdir())) == 3


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"{number}\n" for number in range(100)))
    assert tail(log, 3) == "97\n98\n99"
    assert tail(tmp_path / "none.log") == ""
