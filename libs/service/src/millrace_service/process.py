"""A service's life: topics, components and HTTP started together, stopped together, failing loudly together."""

import asyncio
import contextlib
import gc
import logging
import random  # noqa: TID251  jitter only
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn
import uvloop
from typing_extensions import override

from millrace_bus.broker import Broker
from millrace_bus.retry import Backoff
from millrace_bus.topology import ensure_topics
from millrace_kernel.errors import TransientError
from millrace_service.settings import PlatformSettings
from millrace_telemetry import logs
from millrace_telemetry.tracing import NO_TRACING, Tracing

logger = logging.getLogger(__name__)

STOP_SECONDS = 20


class Component(Protocol):
    """Something that works until it is cancelled: a worker, a follower, a runner."""

    ready: asyncio.Event

    async def run(self) -> None: ...


@dataclass(slots=True)
class Service:
    """Everything one service is made of, put together by its bootstrap."""

    name: str
    port: int
    settings: PlatformSettings
    broker: Broker
    app: Any  # an ASGI app
    components: Sequence[Component]
    http_protocol: Any = "auto"  # what uvicorn makes of each connection: its own, or another one
    tracing: Tracing = NO_TRACING
    closing: Sequence[Callable[[], None]] = field(default_factory=tuple)

    def is_ready(self) -> bool:
        for component in self.components:  # noqa: SIM110  `all` takes twice as long, and serving asks for each request
            if not component.ready.is_set():
                return False
        return True


def chance() -> float:
    """Jitter for backoffs: nothing that is computed or written depends on it."""
    return random.random()  # noqa: S311  not for secrets, not for results


def run(settings: PlatformSettings, name: str, build: Callable[[], Awaitable[Service]]) -> None:
    """Run a service until SIGTERM or SIGINT; exits with 1 when it fails."""
    logs.configure(name, level=settings.log_level, as_json=settings.log_json)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failed = runner.run(_live(build))
    sys.exit(1 if failed else 0)


def spare_the_collector() -> None:
    """Let the garbage collector look less often: messages are many, short-lived and free of cycles (a fifth of the time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


async def _live(build: Callable[[], Awaitable[Service]]) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = await build()
    spare_the_collector()
    work = asyncio.ensure_future(_work(service))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    failed = False
    if work.done():
        failed = True
        logger.critical("the service failed and stops", exc_info=work.exception())
    else:
        logger.info("stopping")
        work.cancel()
        await asyncio.wait([work], timeout=STOP_SECONDS)
    for close in service.closing:
        close()
    await asyncio.to_thread(service.tracing.flush)
    return failed


async def _work(service: Service) -> None:
    if service.settings.kafka_create_topics:
        await _until_there(service)
    async with asyncio.TaskGroup() as tasks:
        for component in service.components:
            tasks.create_task(component.run())
        tasks.create_task(_serve(service))
        logger.info("started", extra={"port": service.port})


async def _until_there(service: Service) -> None:
    backoff, attempt = (
        Backoff(longest_seconds=1.0),
        0,
    )  # a stack starts all at once: whoever is early looks again soon
    while True:
        try:
            return await ensure_topics(service.broker, service.settings.kafka_partitions)
        except TransientError as error:
            attempt += 1
            delay = backoff.delay(attempt, chance)
            logger.warning(
                "waiting for Kafka", extra={"seconds": round(delay, 2), "reason": str(error)}
            )
            await asyncio.sleep(delay)


async def _serve(service: Service) -> None:
    config = uvicorn.Config(
        service.app, host=service.settings.http_host, port=service.port, log_config=None, lifespan="off", access_log=False,
        timeout_graceful_shutdown=5, http=service.http_protocol,
    )  # fmt: skip
    server = _Server(config)
    try:
        await server.serve()
    except asyncio.CancelledError:
        server.should_exit = True
        if server.started:
            await server.shutdown()  # answers what is under way, then closes
        raise
    except SystemExit as error:  # uvicorn's way of saying that the port is taken
        raise OSError(
            f"cannot listen on {service.settings.http_host}:{service.port}; is it in use?"
        ) from error


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one place that stops it."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
