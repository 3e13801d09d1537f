"""Agents that keep the platform's rules: fenced input, acknowledged outputs, dead letters, failures that are told."""

import asyncio
import logging
import random  # noqa: TID251  jitter only
from collections.abc import Awaitable, Callable
from typing import Any, cast

from faust.types import EventT, StreamT, TableT, TopicT

from millrace.faust.application import Application, HandledEvent
from millrace.faust.codec import Heard
from millrace.faust.sending import Send
from millrace.faust.topics import partitions_of
from millrace_bus.dead_letters import dead_letter
from millrace_bus.retry import Backoff
from millrace_kernel.errors import PermanentError, TransientError
from millrace_telemetry.tracing import finish, write_traceparent

logger = logging.getLogger(__name__)

Handle = Callable[[Heard, Send], Awaitable[None]]


def agent(app: Application, channel: TopicT) -> Callable[[Handle], Handle]:
    """Make a Faust agent of `async def handle(heard, send)`; its name is the function's.

    Each event of the topic comes once, in the order of its partition: what its writer sent twice is dropped by the fence.
    A PermanentError puts the event among the dead letters, a TransientError has it handled again after a while (the
    agent's other partitions wait too), anything else stops the application. The offset counts when `handle` returns.
    """

    def decorate(handle: Handle) -> Handle:
        name = getattr(handle, "__name__", "agent")
        listener = _Listener(app, channel, handle, name)
        # above 1, Faust commits offsets of events that are still in the works (its issue 606)
        app.agent(channel, name=name, concurrency=1)(listener.listen)
        return handle

    return decorate


class _Listener:
    def __init__(self, app: Application, channel: TopicT, handle: Handle, name: str) -> None:
        self._app = app
        self._handle = handle
        self._name = f"{app.conf.id}-{name}"
        self._backoff = Backoff()
        self._fences: TableT[str, str] = app.Table(
            f"{name}-fences",
            key_type=str,
            value_type=str,
            partitions=partitions_of(app, channel.get_topic_name()),
            options={"driver": "rocksdict", "block_cache_size": 16 << 20},
        )

    async def listen(self, stream: StreamT[Any]) -> None:
        async for event in stream.noack().events():  # type: ignore[attr-defined]  # missing in its interface
            try:
                await self._hear(event)
            except Exception as error:
                logger.critical("the agent failed and stops", exc_info=error)
                await self._app.crash(error)  # else Faust goes on with the next event
                raise

    async def _hear(self, event: EventT[Any]) -> None:
        heard = cast(Heard, event.value)
        message = heard.message
        newest = (message.sequence or b"").decode("ascii", "replace")
        if not newest or newest > self._fences.get(message.source, ""):
            await self._handled(heard)
            if newest:
                self._fences[message.source] = newest
        assert isinstance(event, HandledEvent)
        event.handled()

    async def _handled(self, heard: Heard) -> None:
        """Until it is handled or rejected."""
        message, attempt = heard.message, 0
        span = self._app.tracing.process(message)
        header = message.headers.get("traceparent")
        if span is not None:
            message.traceparent = write_traceparent(span.get_span_context())
        elif header is not None:
            message.traceparent = header.decode("ascii", "replace")
        while True:
            try:
                await self._handle(heard, Send(self._app, heard))
                break
            except PermanentError as error:
                await self._reject(heard, error)
                break
            except TransientError as error:
                attempt += 1
                await asyncio.sleep(self._pause(heard, attempt, error))
        if span is not None:
            finish(span)

    async def _reject(self, heard: Heard, error: PermanentError) -> None:
        letter = dead_letter(heard.message, error, self._name)
        logger.warning("event rejected", extra={"event": repr(heard.message), "reason": str(error)})
        await self._app.producer.send_and_wait(
            letter.topic, letter.key, letter.value, None, None, letter.headers
        )

    def _pause(self, heard: Heard, attempt: int, error: TransientError) -> float:
        seconds = self._backoff.delay(attempt, random.random)
        logger.info(
            "put off",
            extra={
                "event": repr(heard.message),
                "seconds": round(seconds, 2),
                "reason": str(error),
            },
        )
        return seconds
