"""Long work in a child process: it starts in milliseconds, and neither its crash nor its end can hurt the service.

Children are forked from a fork server that has imported the libraries once; the service itself, with its threads, is
never forked. A child ends with its service, also when that is killed: it holds one end of a pipe and watches it.

A child handles foreign data with native libraries, so its answer is not believed to be harmless: it is MessagePack of one
type, checked as it is read. What goes the other way, from the service to its own child, `multiprocessing` pickles.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from typing import Generic, TypeVar

import msgspec
import psutil

from millrace_kernel.errors import PermanentError

Job = TypeVar("Job")
Result = TypeVar("Result")

_NICER = 5  # the stream goes first: a fit takes what it leaves
_KILLED = "was killed by signal {signal} ({name}); if it ran out of memory, learn from fewer rows (model.train_on.last)"


class ChildFailedError(PermanentError):
    """The work came to nothing. The text says why; `cpu_seconds` what it cost."""

    def __init__(self, reason: str, cpu_seconds: float) -> None:
        super().__init__(reason)
        self.cpu_seconds = cpu_seconds


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str
    cpu_seconds: float


_ANSWER, _FAILURE = b"a", b"f"
_decode_failed = msgspec.msgpack.Decoder(_Failed).decode


class Children(Generic[Job, Result]):
    """Runs `work(job)` in children. `work` is a module's function, `answer` the type of what it returns, as msgspec knows types.

    `preload` names modules that the fork server imports once.
    """

    def __init__(
        self, work: Callable[[Job], Result], answer: type[Result], *, preload: tuple[str, ...] = ()
    ) -> None:
        self._work = work
        self._decode = msgspec.msgpack.Decoder(answer).decode
        self._context: ForkServerContext = get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *preload])

    def warm_up(self) -> None:
        """Start the fork server; it imports while the service goes on."""
        ensure_running()

    async def run(self, job: Job, seconds: float) -> Result:
        """Raises ChildFailedError when the work fails, crashes or takes longer than `seconds`."""
        answer, answering = self._context.Pipe(duplex=False)
        watched, watching = self._context.Pipe(duplex=False)
        child = self._context.Process(
            target=_child, args=(answering, watched, self._work, job), daemon=True
        )
        began = time.monotonic()
        try:
            await asyncio.shield(
                asyncio.to_thread(child.start)
            )  # waits while the fork server still imports
            answering.close()
            watched.close()
            async with asyncio.timeout(seconds):
                await _readable(answer)
                told = await asyncio.to_thread(answer.recv_bytes)
        except TimeoutError:
            cost = _cpu_seconds(child, began)
            raise ChildFailedError(
                f"the fit took longer than {seconds:g} s and was stopped", cost
            ) from None
        except EOFError:
            raise ChildFailedError(
                await asyncio.to_thread(_how_it_died, child), time.monotonic() - began
            ) from None
        finally:
            await asyncio.shield(asyncio.to_thread(_end, child, answer, watching))
        return self._outcome(told, time.monotonic() - began)

    def _outcome(self, told: bytes, seconds: float) -> Result:
        try:
            if told[:1] == _ANSWER:
                return self._decode(told[1:])
            failed = _decode_failed(told[1:])
        except msgspec.DecodeError as error:
            raise ChildFailedError(f"the fit's answer can't be read: {error}", seconds) from error
        raise ChildFailedError(failed.reason, failed.cpu_seconds)


async def _readable(connection: Connection) -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(connection.fileno())
        # uvloop makes what it watches non-blocking, and `recv` waits for the whole answer
        os.set_blocking(connection.fileno(), True)


def _end(child: ForkServerProcess, *connections: Connection) -> None:
    if child.pid is not None:
        child.kill()
        child.join()
        child.close()
    for connection in connections:
        connection.close()


def _cpu_seconds(child: ForkServerProcess, began: float) -> float:
    """What a child has cost so far; the time that went by when it cannot be asked any more."""
    try:
        times = psutil.Process(child.pid).cpu_times()
    except psutil.Error:
        return time.monotonic() - began
    return float(times.user + times.system)


def _how_it_died(child: ForkServerProcess) -> str:
    child.join()
    code = child.exitcode or 0
    if code >= 0:
        return f"the fit's process ended with code {code} and no answer; its log says why"
    return "the fit's process " + _KILLED.format(signal=-code, name=signal.Signals(-code).name)


def _child(
    answering: Connection, watched: Connection, work: Callable[[Job], Result], job: Job
) -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when it ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_service, args=(watched,), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(_NICER)
    try:
        told = _ANSWER + msgspec.msgpack.encode(work(job))
    except PermanentError as error:
        told = _failure(str(error))
    except Exception as error:  # noqa: BLE001  told to the service, which tells everybody
        told = _failure(f"{type(error).__name__}: {error}")
    answering.send_bytes(told)


def _failure(reason: str) -> bytes:
    return _FAILURE + msgspec.msgpack.encode(_Failed(reason, time.process_time()))


def _end_with_the_service(watched: Connection) -> None:
    with contextlib.suppress(OSError, EOFError):
        watched.recv_bytes()  # nothing ever comes
    os._exit(1)
