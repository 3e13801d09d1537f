"""Work in child processes: whatever becomes of the child, the service hears of it and goes on."""

import asyncio
import math
import operator
import os
import signal
import sys
import time

import psutil
import pytest
import uvloop

from millrace_testkit.eventually import eventually
from millrace_training.adapters.children import ChildFailedError, Children


async def test_the_result_comes_back():
    assert await Children(operator.neg, int).run(5, 60) == -5


async def test_a_large_result_comes_back_whole():
    result = await Children(operator.methodcaller("__mul__", 3_000_000), bytes).run(b"abc", 60)

    assert result == b"abc" * 3_000_000


def test_a_large_result_comes_back_whole_on_the_loop_that_services_run_on():
    children = Children(operator.methodcaller("__mul__", 3_000_000), bytes)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(children.run(b"abc", 60)) == b"abc" * 3_000_000


async def test_a_child_starts_in_milliseconds_once_the_fork_server_is_warm():
    children = Children(operator.neg, int)
    await children.run(1, 60)
    began = time.perf_counter()

    await children.run(1, 60)

    assert time.perf_counter() - began < 1.0, "a fresh interpreter with its imports takes seconds"


async def test_a_failure_is_told_in_words():
    with pytest.raises(ChildFailedError, match=r"^ValueError: ") as failure:
        await Children(math.sqrt, float).run(-1, 60)

    assert failure.value.cpu_seconds >= 0


async def test_an_answer_of_another_type_than_promised_is_a_failure():
    with pytest.raises(ChildFailedError, match="answer can't be read: Expected `str`, got `int`"):
        await Children(operator.neg, str).run(5, 60)


async def test_an_answer_of_no_plain_type_is_a_failure():
    with pytest.raises(ChildFailedError, match="answer can't be read"):
        await Children(operator.attrgetter("real"), complex).run(2j * 1j + 1j, 60)


async def test_what_a_child_answers_is_never_unpickled(monkeypatch):
    monkeypatch.setattr("multiprocessing.connection._ForkingPickler.loads", pytest.fail)

    assert await Children(operator.neg, int).run(5, 60) == -5


async def test_a_child_that_is_killed_is_a_failure_that_names_the_signal():
    with pytest.raises(
        ChildFailedError, match=r"killed by signal 9 \(SIGKILL\); if it ran out of memory"
    ):
        await Children(signal.raise_signal, type(None)).run(signal.SIGKILL, 60)


async def test_a_child_that_ends_without_an_answer_is_a_failure():
    with pytest.raises(ChildFailedError, match="ended with code 3"):
        await Children(os._exit, type(None)).run(3, 60)


async def test_a_child_that_takes_too_long_is_ended():
    with pytest.raises(ChildFailedError, match=r"took longer than 0\.3 s"):
        await Children(time.sleep, type(None)).run(60, 0.3)

    assert await eventually(lambda: sleepers() == set())


async def test_a_child_is_ended_when_nobody_waits_for_it_any_more():
    waiting = asyncio.ensure_future(Children(time.sleep, type(None)).run(60, 60))
    await eventually(lambda: len(sleepers()) == 1)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await eventually(lambda: sleepers() == set())


async def test_children_end_when_their_service_is_killed():
    program = (
        "import asyncio, time\n"
        "from millrace_training.adapters.children import Children\n"
        "asyncio.run(Children(time.sleep, type(None)).run(60, 60))\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", path + program)
    family = await eventually(lambda: grandchildren_of(service.pid), within=30)

    service.kill()
    await service.wait()

    assert await eventually(lambda: not any(map(alive, family)))


def sleepers() -> set[int]:
    """Children of the fork server."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.ppid() != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    }


def grandchildren_of(pid: int) -> list[psutil.Process]:
    try:
        return [
            process
            for process in psutil.Process(pid).children(recursive=True)
            if process.ppid() != pid
        ]
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
