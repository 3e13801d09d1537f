"""Programs of the user's own count with the child that started them: their memory and time are its own, and they end with it."""

import asyncio
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from millrace_testkit.eventually import eventually
from millrace_training.adapters.fitting.own import programs
from millrace_training.adapters.processes.children import ChildFailedError, Children, Limits


@pytest.fixture
def children(tmp_path):
    """Children that run a program, given as its lines."""

    def work(lines: str):
        (tmp_path / "own.py").write_text(lines)
        return [sys.executable, str(tmp_path / "own.py")]

    run = partial(programs.run_program, "own", folder=tmp_path, seconds=60.0, threads=1)
    return Children(run, type(None)), work


async def test_memory_of_its_programs_counts_as_the_childs(children, tmp_path):
    run, work = children
    taking = "import time\ntaken = b'x' * (700 << 20)\ntime.sleep(600)"
    with pytest.raises(ChildFailedError, match="more than the 700 MiB"):
        await run.run(work(taking), Limits(120, memory_bytes=700 << 20, family=True))
    assert workers(tmp_path) == []


async def test_processor_time_of_its_programs_counts_as_the_childs(children, tmp_path):
    """No single one of the eight uses as much."""
    run, work = children
    spinning = "import os\nfor _ in range(3):\n    os.fork()\nwhile True:\n    pass"
    with pytest.raises(ChildFailedError, match="used more than 5 s of processor time") as failure:
        await run.run(work(spinning), Limits(120, cpu_seconds=5.0, family=True))
    assert failure.value.cost.cpu_seconds > 5.0
    assert workers(tmp_path) == []


async def test_what_its_programs_used_is_in_the_cost(children):
    run, work = children
    spinning = "import time\nwhile time.process_time() < 2.5:\n    pass"
    done = await run.run(work(spinning), Limits(120, family=True))
    assert 2.5 <= done.cost.cpu_seconds < 20.0


async def test_its_programs_end_with_a_child_that_dies_by_itself(children, tmp_path):
    run, work = children
    killing = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)"
    with pytest.raises(ChildFailedError, match="was killed by signal 9"):
        await run.run(work(killing), Limits(120, family=True))
    assert workers(tmp_path) == []


async def test_programs_end_when_their_service_is_killed(children, tmp_path):
    _, work = children
    line = work("import os, time\nos.setsid()\ntime.sleep(600)")
    program = f"""
import sys
sys.path[:] = {sys.path!r}
import asyncio
from functools import partial
from pathlib import Path
from millrace_training.adapters.processes.children import Children, Limits
from millrace_training.adapters.fitting.own.programs import run_program
run = partial(run_program, "own", folder=Path({str(tmp_path)!r}), seconds=600.0, threads=1)
asyncio.run(Children(run, type(None)).run({line!r}, Limits(600, family=True)))
"""
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await eventually(lambda: workers(tmp_path), within=60, what="the program")
    service.kill()
    await service.wait()
    assert await eventually(lambda: workers(tmp_path) == [], within=30)


def workers(folder: Path) -> list[psutil.Process]:
    """Programs that run now: those that were started with the script of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if (
            words
            and words[-1] == str(folder / "own.py")
            and process.status() != psutil.STATUS_ZOMBIE
        ):
            found.append(process)
    return found
