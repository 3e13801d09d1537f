"""Waiting for facts, not for time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from typing import Any, Protocol


async def eventually(
    fact: Callable[[], Any | Awaitable[Any]], *, within: float = 10.0, what: str = ""
) -> Any:
    """Return the fact's first true answer. Fails with its last answer after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        answer = fact()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(
                f"not within {within} s: {what or 'the fact'}; last answer {answer!r}"
            )
        await asyncio.sleep(0.01)


class Runs(Protocol):
    ready: asyncio.Event

    async def run(self) -> None: ...


@asynccontextmanager
async def running(*components: Runs) -> AsyncIterator[None]:
    """Run components (workers, followers) for the length of a block; a failure of one fails the block."""
    tasks = [asyncio.ensure_future(component.run()) for component in components]
    try:
        for component, task in zip(components, tasks, strict=True):
            waiting = asyncio.ensure_future(component.ready.wait())
            await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
