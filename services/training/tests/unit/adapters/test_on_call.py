"""Work that is done when somebody wakes the worker, and again when it failed for now."""

import asyncio
import logging

import pytest
from typing_extensions import override

from millrace_bus.retry import Backoff
from millrace_kernel.errors import PermanentError, TransientError
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.on_call import OnCall


class Work:
    """Counts; fails as it is told to; stands still while `goes_on` is not set."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.begun = 0
        self.done = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def __call__(self) -> None:
        self.begun += 1
        await self.goes_on.wait()
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.done += 1


class Waits(Backoff):
    """No time at all, and a memory for which failure it was after."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "after", [])

    @override
    def delay(self, attempt, chance):
        self.after.append(attempt)
        return 0.0


def on_call(work: Work, backoff: Backoff | None = None) -> OnCall:
    return OnCall(work, "put off", chance=lambda: 0.5, backoff=backoff or Waits())


async def turns(number: int = 20) -> None:
    """The loop's, in which it could have worked again."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_it_begins_with_what_a_killed_process_left_and_then_waits():
    work = Work()
    async with running(on_call(work)):
        await eventually(lambda: work.done == 1)
        await turns()

    assert work.begun == 1


async def test_it_works_when_it_is_woken():
    work = Work()
    worker = on_call(work)
    async with running(worker):
        await eventually(lambda: work.done == 1)
        worker.wake()
        await eventually(lambda: work.done == 2)


async def test_woken_while_it_works_it_works_once_more():
    work = Work()
    work.goes_on.clear()
    worker = on_call(work)
    async with running(worker):
        await eventually(lambda: work.begun == 1)
        worker.wake()
        worker.wake()
        work.goes_on.set()
        await eventually(lambda: work.done == 2)
        await turns()

    assert work.begun == 2


async def test_what_fails_for_now_is_done_again_unasked_after_waits_that_grow_anew(caplog):
    away = TransientError("the lake is away")
    work, waits = Work(away, away, None, away), Waits()
    worker = on_call(work, waits)
    with caplog.at_level(logging.WARNING):
        async with running(worker):
            await eventually(lambda: work.done == 1)
            worker.wake()
            await eventually(lambda: work.done == 2)

    assert waits.after == [1, 2, 1]
    assert [(record.message, record.reason) for record in caplog.records] == [
        ("put off", "the lake is away")
    ] * 3


async def test_any_other_failure_ends_it():
    with pytest.raises(PermanentError, match="for good"):
        await on_call(Work(PermanentError("for good"))).run()
