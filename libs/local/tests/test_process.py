"""Starting and ending: what a server that fails says, and that nothing stays behind."""

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from millrace_local.errors import LocalServerError
from millrace_local.guard import end_guard, launch_guarded, lives
from millrace_local.probes import wait_until
from millrace_local.process import start


@dataclass
class Script:
    """A server that is a few lines of Python, ready when its file exists."""

    code: str
    file: Path
    name: str = "script"
    run_as: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    prepared: list[bool] = field(default_factory=list)

    def prepare(self) -> None:
        self.prepared.append(True)

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code, str(self.file)]

    def environment(self) -> dict[str, str]:
        return {"GREETING": "hello"}

    def ready(self, timeout: float) -> bool:
        return wait_until(self.file.exists, timeout)


SERVES = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(os.environ['GREETING']); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVES}"


def test_it_is_prepared_started_and_ended(tmp_path: Path):
    server = Script(SERVES, tmp_path / "ready")

    with start(server, tmp_path / "log") as running:
        assert running.alive
        assert server.prepared == [True]
        assert server.file.read_text() == "hello"

    assert not running.alive
    running.stop()  # once more is fine


def test_one_that_does_not_want_to_end_is_killed(tmp_path: Path):
    running = start(Script(STUBBORN, tmp_path / "ready"), tmp_path / "log")

    running.stop(timeout=0.2)

    assert running.process.returncode == -signal.SIGKILL


def test_one_that_fails_shows_its_log(tmp_path: Path):
    server = Script("import sys; sys.exit('the port is taken')", tmp_path / "ready")

    with pytest.raises(
        LocalServerError, match=r"(?s)script ended with exit code 1.*the port is taken"
    ):
        start(server, tmp_path / "log")


def test_one_that_never_answers_is_ended(tmp_path: Path):
    server = Script(
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)", tmp_path / "never"
    )

    with pytest.raises(LocalServerError, match=r"did not answer within 0\.6 s"):
        start(server, tmp_path / "log", timeout=0.6)

    assert not psutil.pid_exists(int((tmp_path / "log").read_text()))


def guarded(tmp_path: Path, watch: int) -> tuple[int, Path]:
    data = tmp_path / "session" / "data"
    data.mkdir(parents=True)
    server = Script(SERVES, tmp_path / "ready")
    guard = launch_guarded(server, log=tmp_path / "log", watch=watch, remove=data)
    assert server.ready(10)
    return guard, data


def test_a_guarded_server_ends_with_the_process_it_hangs_on(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as owner:
        guard, data = guarded(tmp_path, owner.pid)
        (child,) = psutil.Process(guard).children()
        owner.kill()

    assert wait_until(lambda: not lives(guard), 10)
    assert not lives(child.pid)
    assert not data.parent.exists()


def test_a_guarded_server_can_be_ended(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as owner:
        guard, data = guarded(tmp_path, owner.pid)
        (child,) = psutil.Process(guard).children()

        end_guard(guard)
        owner.kill()

    assert not lives(child.pid)
    assert not data.exists()


def test_what_is_beside_the_data_of_a_guarded_server_stays(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as owner:
        guard, data = guarded(tmp_path, owner.pid)
        (data.parent / "other").touch()

        end_guard(guard)
        owner.kill()

    assert (data.parent / "other").exists()
