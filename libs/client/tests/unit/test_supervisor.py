"""The supervisor with tiny real child processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from millrace.errors import ClientError
from millrace.supervisor import stack_file
from millrace.supervisor.lock import only_supervisor
from millrace.supervisor.program import Program, Tier
from millrace.supervisor.restarts import Restarts
from millrace.supervisor.stack_file import Seen
from millrace.supervisor.supervisor import Supervisor
from millrace_kernel.clock import SystemClock
from millrace_testkit.eventually import eventually

POLITE = """
import pathlib, signal, sys, time
name, diary = sys.argv[1], pathlib.Path(sys.argv[2])
def end(*_):
    time.sleep(0.05)
    with diary.open("a") as file:
        file.write(f"{name} ended\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("hello from", name, flush=True)
while True:
    time.sleep(0.01)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('hello', flush=True); time.sleep(60)"
DYING = "raise SystemExit(3)"


def program(name: str, folder: Path, code: str = POLITE, tier: Tier = Tier.SERVICE) -> Program:
    command = (sys.executable, "-c", code, name, str(folder / "diary"))
    return Program(name, command, port=1, address=f"here/{name}", ready=lambda: True, tier=tier)


def supervisor_of(
    programs: list[Program], home: Path, told: list[str], **more: object
) -> Supervisor:
    return Supervisor(
        programs,
        home=home,
        bootstrap="127.0.0.1:1",
        tracing_ui=None,
        clock=SystemClock(),
        report=lambda name, what: told.append(f"{name} {what}"),
        **more,
    )


@asynccontextmanager
async def running(programs: list[Program], home: Path, **more: object) -> AsyncIterator[list[str]]:
    told: list[str] = []
    supervisor = supervisor_of(programs, home, told, **more)
    task = asyncio.ensure_future(supervisor.run())
    try:
        yield told
    finally:
        supervisor.stop()
        await asyncio.wait_for(task, 20)


def pids(home: Path) -> dict[str, int]:
    stack = stack_file.read(home / "stack.json")
    processes = stack.processes if stack else ()
    return {each.name: each.process.pid for each in processes if each.process}


async def said_hello(home: Path, name: str, times: int = 1) -> None:
    log = home / "logs" / f"{name}.log"
    await eventually(lambda: log.is_file() and log.read_text().count("hello") >= times)


async def test_a_program_that_is_killed_is_back_in_about_a_second(tmp_path: Path) -> None:
    async with running([program("miller", tmp_path)], tmp_path) as told:
        await said_hello(tmp_path, "miller")
        first = pids(tmp_path)["miller"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: pids(tmp_path).get("miller", first) != first, within=1.5)
        stack = stack_file.read(tmp_path / "stack.json")
        assert stack is not None
        assert stack.processes[0].restarts == 1
        assert stack.processes[0].lives
        assert any("was ended by SIGKILL; starting again" in line for line in told)


async def test_what_stands_on_something_is_ended_before_it(tmp_path: Path) -> None:
    programs = [
        program("ground", tmp_path, tier=Tier.SERVER),
        program("wheel", tmp_path),
        program("stone", tmp_path),
    ]
    async with running(programs, tmp_path):
        for each in programs:
            await said_hello(tmp_path, each.name)
    ended = (tmp_path / "diary").read_text().splitlines()
    assert set(ended[:2]) == {"wheel ended", "stone ended"}
    assert ended[2:] == ["ground ended"]
    assert not (tmp_path / "stack.json").exists()


async def test_one_that_does_not_want_to_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    async with running([program("deaf", tmp_path, DEAF)], tmp_path, grace_seconds=0.2) as told:
        await said_hello(tmp_path, "deaf")
        pid = pids(tmp_path)["deaf"]
    assert any("has not ended within 0.2 s; killed" in line for line in told)
    assert not stack_file.seen(pid).lives()


async def test_one_that_cannot_live_is_tried_ever_more_rarely(tmp_path: Path) -> None:
    restarts = Restarts(first_seconds=0.01, longest_seconds=0.05)
    async with running([program("dying", tmp_path, DYING)], tmp_path, restarts=restarts) as told:
        await eventually(lambda: sum("exit code 3" in line for line in told) >= 5)
    delays = [line.partition("starting again")[2] for line in told if "exit code 3" in line]
    assert [delay.partition(";")[0] for delay in delays[:5]] == [
        "",
        " in 0.01 s",
        " in 0.02 s",
        " in 0.04 s",
        " in 0.05 s",
    ]


def test_after_running_well_a_death_counts_as_the_first() -> None:
    restarts = Restarts(well_after_seconds=10)
    assert restarts.deaths_after(7, lived_seconds=9.9) == 8
    assert restarts.deaths_after(7, lived_seconds=10.0) == 1
    assert restarts.delay(1) == 0.0


async def test_each_program_has_a_log_of_its_own(tmp_path: Path) -> None:
    async with running([program("a", tmp_path), program("b", tmp_path)], tmp_path):
        await said_hello(tmp_path, "a")
        await said_hello(tmp_path, "b")
    assert (tmp_path / "logs" / "a.log").read_text() == "hello from a\n"
    assert (tmp_path / "logs" / "b.log").read_text() == "hello from b\n"


async def test_what_a_killed_program_had_started_goes_with_it(tmp_path: Path) -> None:
    code = "import subprocess, time; child = subprocess.Popen(['sleep', '60']); print('hello', child.pid, flush=True); time.sleep(60)"
    async with running([program("parent", tmp_path, code)], tmp_path):
        await said_hello(tmp_path, "parent")
        child = int((tmp_path / "logs" / "parent.log").read_text().split()[1])
        os.kill(pids(tmp_path)["parent"], signal.SIGKILL)
        await eventually(lambda: not stack_file.seen(child).lives())


async def test_a_preparation_that_fails_ends_everything_and_is_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no room for the storage")

    broken = Program("broken", ("true",), 1, "here", ready=lambda: False, prepare=fail)
    with pytest.raises(OSError, match="no room for the storage"):
        async with running([program("fine", tmp_path), broken], tmp_path):
            await asyncio.sleep(0.3)
    assert not (tmp_path / "stack.json").exists()


def test_a_second_supervisor_of_a_home_is_refused(tmp_path: Path) -> None:
    with (
        only_supervisor(tmp_path),
        pytest.raises(ClientError, match="another supervisor keeps the stack"),
        only_supervisor(tmp_path),
    ):
        pass
    with only_supervisor(tmp_path):  # whoever let go of it is not in the way
        pass


async def test_the_stack_file_says_who_runs_and_where(tmp_path: Path) -> None:
    async with running([program("miller", tmp_path)], tmp_path):
        await said_hello(tmp_path, "miller")
        stack = json.loads((tmp_path / "stack.json").read_text())
        assert stack["supervisor"]["pid"] == os.getpid()
        assert stack["bootstrap"] == "127.0.0.1:1"
        [process] = stack["processes"]
        assert process["name"] == "miller"
        assert process["address"] == "here/miller"
        assert process["restarts"] == 0
        assert process["log"] == str(tmp_path / "logs" / "miller.log")
        assert stack_file.read(tmp_path / "stack.json").lives


def test_an_id_that_another_process_has_now_does_not_count_as_alive() -> None:
    mine = stack_file.seen(os.getpid())
    assert mine.lives()
    assert not Seen(mine.pid, mine.created - 60).lives()


def test_a_stack_file_of_another_making_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    assert stack_file.read(path) is None
    path.write_text('{"home": 1}')
    assert stack_file.read(path) is None
