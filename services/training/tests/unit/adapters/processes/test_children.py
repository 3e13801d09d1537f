"""Work in child processes: whatever becomes of the child, the service hears of it and goes on."""

import asyncio
import math
import operator
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import uvloop

from millrace_testkit.eventually import eventually
from millrace_training.adapters.processes.children import ChildFailedError, Children, Limits

MINUTE = Limits(60)


async def test_the_result_comes_back():
    assert (await Children(operator.neg, int).run(5, MINUTE)).result == -5


async def test_a_large_result_comes_back_whole():
    done = await Children(operator.methodcaller("__mul__", 3_000_000), bytes).run(b"abc", MINUTE)

    assert done.result == b"abc" * 3_000_000


def test_a_large_result_comes_back_whole_on_the_loop_that_services_run_on():
    children = Children(operator.methodcaller("__mul__", 3_000_000), bytes)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(children.run(b"abc", MINUTE)).result == b"abc" * 3_000_000


async def test_a_child_starts_in_milliseconds_once_the_fork_server_is_warm():
    children = Children(operator.neg, int)
    await children.run(1, MINUTE)
    began = time.perf_counter()

    await children.run(1, MINUTE)

    assert time.perf_counter() - began < 1.0, "a fresh interpreter with its imports takes seconds"


async def test_a_failure_is_told_in_words():
    with pytest.raises(ChildFailedError, match=r"^ValueError: ") as failure:
        await Children(math.sqrt, float).run(-1, MINUTE)

    assert failure.value.cost.cpu_seconds > 0


async def test_an_answer_of_another_type_than_promised_is_a_failure():
    with pytest.raises(
        ChildFailedError, match="answer that can't be read: Expected `str`, got `int`"
    ):
        await Children(operator.neg, str).run(5, MINUTE)


async def test_an_answer_of_no_plain_type_is_a_failure():
    with pytest.raises(ChildFailedError, match="answer that can't be read"):
        await Children(operator.attrgetter("real"), complex).run(2j * 1j + 1j, MINUTE)


async def test_what_a_child_answers_is_never_unpickled(monkeypatch):
    monkeypatch.setattr("multiprocessing.connection._ForkingPickler.loads", pytest.fail)

    assert (await Children(operator.neg, int).run(5, MINUTE)).result == -5


async def test_a_child_that_is_killed_is_a_failure_that_names_the_signal():
    with pytest.raises(
        ChildFailedError, match=r"killed by signal 9 \(SIGKILL\); if it ran out of memory"
    ):
        await Children(signal.raise_signal, type(None)).run(signal.SIGKILL, MINUTE)


async def test_a_child_that_ends_without_an_answer_is_a_failure():
    with pytest.raises(ChildFailedError, match="the fit ended its process with code 3"):
        await Children(os._exit, type(None)).run(3, MINUTE)


async def test_a_child_that_takes_too_long_is_ended():
    with pytest.raises(ChildFailedError, match=r"took longer than 0\.3 s"):
        await Children(time.sleep, type(None)).run(60, Limits(0.3))

    assert await eventually(lambda: sleepers() == set())


async def test_a_child_is_ended_when_nobody_waits_for_it_any_more():
    waiting = asyncio.ensure_future(Children(time.sleep, type(None)).run(60, MINUTE))
    await eventually(lambda: len(sleepers()) == 1)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await eventually(lambda: sleepers() == set())


async def test_children_end_when_their_service_is_killed():
    program = (
        "import asyncio, time\n"
        "from millrace_training.adapters.processes.children import Children, Limits\n"
        "asyncio.run(Children(time.sleep, type(None)).run(60, Limits(60)))\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", path + program)
    family = await eventually(lambda: grandchildren_of(service.pid), within=30)

    service.kill()
    await service.wait()

    assert await eventually(lambda: not any(map(alive, family)))


def take_memory(mebibytes: int) -> int:
    """Keeps the bytes until it is ended."""
    taken = [bytearray(b"x" * (1 << 20)) for _ in range(mebibytes)]
    time.sleep(60)
    return len(taken)


def spin(seconds: int) -> int:
    end = time.process_time() + seconds
    rounds = 0
    while time.process_time() < end:
        rounds += 1
    return rounds


def crash_after(mebibytes: int) -> int:
    taken = bytearray(b"x" * (mebibytes << 20))
    time.sleep(1.0)
    os._exit(len(taken) % 2 + 3)


async def test_a_child_that_takes_too_much_memory_is_ended_and_told_apart():
    small = (await Children(operator.neg, int).run(5, MINUTE)).cost.peak_memory_bytes
    limits = Limits(60, memory_bytes=small + (100 << 20))

    with pytest.raises(
        ChildFailedError, match=r"more than the [\d,]+ MiB that it may have.*TRAINING_MEMORY_MB"
    ) as failure:
        await Children(take_memory, int).run(300, limits)

    assert failure.value.cost.peak_memory_bytes > limits.memory_bytes
    assert await eventually(lambda: sleepers() == set())


async def test_a_child_within_its_memory_is_left_alone():
    limits = Limits(60, cpu_seconds=60, memory_bytes=4 << 30)

    assert (await Children(operator.neg, int).run(5, limits)).result == -5


async def test_a_child_that_takes_too_much_processor_time_is_ended_and_told_apart():
    with pytest.raises(
        ChildFailedError, match=r"used more than 1 s of processor time .*TRAINING_CPU_SECONDS"
    ) as failure:
        await Children(spin, int).run(60, Limits(60, cpu_seconds=1))

    assert 0.5 < failure.value.cost.cpu_seconds < 3.0


async def test_what_a_child_used_is_told_with_its_result():
    cost = (await Children(spin, int).run(1, MINUTE)).cost

    assert 1.0 <= cost.cpu_seconds < 2.0
    assert cost.wall_seconds >= 0.9
    assert 1 << 20 < cost.peak_memory_bytes < 4 << 30


async def test_what_a_child_used_that_died_is_known_from_before():
    small = (await Children(operator.neg, int).run(5, MINUTE)).cost.peak_memory_bytes

    with pytest.raises(ChildFailedError, match="code 3") as failure:
        await Children(crash_after, int).run(200, MINUTE)

    assert failure.value.cost.peak_memory_bytes > small + (100 << 20)


async def test_the_kernel_would_end_a_child_before_the_service():
    read = Children(operator.methodcaller("read_text"), str)
    adjusted = (await read.run(Path("/proc/self/oom_score_adj"), MINUTE)).result

    assert int(adjusted) == 1000


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
