"""Long work in a child process: it starts in milliseconds, and neither its crash nor its end can hurt the service.

Children are forked from a fork server that has imported the libraries once; the service itself, with its threads, is
never forked. A child ends with its service, also when that is killed: it holds one end of a pipe and watches it.

A child has limits. Its processor time is the kernel's to keep (RLIMIT_CPU). Its memory is watched from here, as what it
has resident: RLIMIT_AS would count addresses, of which Arrow, OpenMP and ONNX Runtime reserve gigabytes that they never
touch, and its end would be a crash somewhere in a library instead of a reason. Between two looks a child may take more;
if that exhausts the machine, the kernel ends the child first, which asks for it (oom_score_adj), not the service.

A child may start programs of its own (`Limits.family`). It leads a group, and what is below it counts as its own and ends with
it, whoever dies first: the child when its service is killed, the service when its child is.

A child handles foreign data with native libraries, so its answer is not believed to be harmless: it is MessagePack of one
type, checked as it is read. What goes the other way, from the service to its own child, `multiprocessing` pickles.
"""

import asyncio
import contextlib
import math
import os
import resource
import signal
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from millrace_kernel.errors import PermanentError, TransientError
from millrace_training.adapters.processes.family import end_all, end_group, family_of
from millrace_training.adapters.processes.metering import Meter, Usage, own_usage
from millrace_training.domain.costs import Cost

Job = TypeVar("Job")
Result = TypeVar("Result")

_NICER = 5  # the stream goes first: a fit takes what it leaves
_LOOKS_SECONDS = 0.1  # between two looks at a child's memory
_GRACE_SECONDS = (
    5  # of processor time, from the signal that names the reason to the one that nothing survives
)
_KILL_FIRST = "1000"  # of all processes, when the machine runs out of memory
_MEBIBYTE = 1 << 20
_FEWER_ROWS = "learn from fewer rows (model.train_on.last)"
_KILLED = "was killed by signal {signal} ({name}); if it ran out of memory, " + _FEWER_ROWS


class ChildFailedError(PermanentError):
    """The work came to nothing. The text says why; `cost` what it used all the same."""

    def __init__(self, reason: str, cost: Cost) -> None:
        super().__init__(reason)
        self.cost = cost


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use: `seconds` of wall time, of processor time (None: as much as it gets), and bytes resident,
    the libraries included (None: as much as there is). `family`: it starts programs, which are looked at, too."""

    seconds: float
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    family: bool = False


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    result: Result
    cost: Cost


Heard = Callable[[Any], Awaitable[None]]


async def _ignored(progress: object) -> None:
    """For who waits for the answer only."""


class _TooLargeError(Exception):
    """The child has more memory than it may have."""


class _TooBusyError(Exception):
    """The child and its programs have used more processor time than they may: the kernel counts each by itself."""


_ANSWER, _FAILURE, _USAGE, _PROGRESS, _LATER = b"a", b"f", b"u", b"p", b"l"
_decode_reason = msgspec.msgpack.Decoder(str).decode
_decode_usage = msgspec.msgpack.Decoder(Usage).decode


class Children(Generic[Job, Result]):
    """Runs `work(job)` in children. `work` is a module's function, `answer` the type of what it returns, as msgspec knows types.

    With `progress`, the type of what it tells on its way, it is `work(job, tell)`. `preload` names modules that the fork server imports once; `what` is what the work is called when it fails.
    """

    def __init__(
        self,
        work: Callable[..., Result],
        answer: type[Result],
        *,
        progress: type[Any] | None = None,
        preload: tuple[str, ...] = (),
        what: str = "the fit",
    ) -> None:
        self._work = work
        self._decode = msgspec.msgpack.Decoder(answer).decode
        self._tells = progress is not None
        self._decode_progress = msgspec.msgpack.Decoder(progress).decode
        self._context: ForkServerContext = get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *preload])
        self._what = what

    def warm_up(self) -> None:
        """Start the fork server; it imports while the service goes on."""
        ensure_running()

    async def run(self, job: Job, limits: Limits, heard: Heard = _ignored) -> Done[Result]:
        """`heard` gets what the work tells on its way, one after the other; what it raises ends the work.

        Raises ChildFailedError when the work fails, crashes or goes beyond a limit, TransientError when it says that it may
        succeed later.
        """
        answer, answering = self._context.Pipe(duplex=False)
        watched, watching = self._context.Pipe(duplex=False)
        child = self._context.Process(
            target=_child,
            args=(answering, watched, self._work, job, limits.cpu_seconds, self._tells),
            daemon=True,
        )
        meter = Meter()
        try:
            await asyncio.shield(
                asyncio.to_thread(child.start)
            )  # waits while the fork server still imports
            answering.close()
            watched.close()
            async with asyncio.timeout(limits.seconds):
                told = await self._told(answer, child, meter, limits, heard)
        except TimeoutError:
            _look(child, meter, limits)
            raise self._failed(
                f"took longer than {limits.seconds:g} s and was stopped", meter
            ) from None
        except _TooLargeError:
            raise self._failed(_too_large(meter, limits), meter) from None
        except _TooBusyError:
            raise self._failed(_too_busy(limits), meter) from None
        except EOFError:
            reason = await asyncio.to_thread(_how_it_died, child, limits)
            raise self._failed(reason, meter) from None
        finally:
            await asyncio.shield(asyncio.to_thread(_end, child, limits.family, answer, watching))
        return self._outcome(told, meter)

    async def _told(
        self,
        answer: Connection,
        child: ForkServerProcess,
        meter: Meter,
        limits: Limits,
        heard: Heard,
    ) -> bytes:
        """What the child says at last. What it uses is looked at until then."""
        while True:
            try:
                async with asyncio.timeout(_LOOKS_SECONDS):
                    await _readable(answer)
            except TimeoutError:
                _look(child, meter, limits)
                if limits.family and meter.cpu_seconds > (limits.cpu_seconds or math.inf):
                    raise _TooBusyError from None
                if limits.memory_bytes is not None and meter.peak_bytes > limits.memory_bytes:
                    raise _TooLargeError from None
                continue
            told = await asyncio.to_thread(answer.recv_bytes)
            if told[:1] == _PROGRESS:
                await heard(self._progress(told[1:], meter))
                continue
            if told[:1] != _USAGE:
                return told
            with contextlib.suppress(msgspec.DecodeError):
                meter.add(_decode_usage(told[1:]))

    def _progress(self, told: bytes, meter: Meter) -> object:
        try:
            return self._decode_progress(told)
        except msgspec.DecodeError as error:
            raise self._failed(f"told what can't be read: {error}", meter) from error

    def _outcome(self, told: bytes, meter: Meter) -> Done[Result]:
        try:
            if told[:1] == _ANSWER:
                return Done(self._decode(told[1:]), meter.cost())
            reason = _decode_reason(told[1:])
            if told[:1] == _LATER:
                raise TransientError(reason)
        except msgspec.DecodeError as error:
            raise self._failed(f"gave an answer that can't be read: {error}", meter) from error
        raise ChildFailedError(reason, meter.cost())

    def _failed(self, reason: str, meter: Meter) -> ChildFailedError:
        return ChildFailedError(f"{self._what} {reason}", meter.cost())


async def _readable(connection: Connection) -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(connection.fileno())
        # uvloop makes what it watches non-blocking, and `recv` waits for the whole answer
        os.set_blocking(connection.fileno(), True)


def _end(child: ForkServerProcess, family: bool, *connections: Connection) -> None:
    if child.pid is not None:
        below = family_of((child.pid,)) if family else []
        child.kill()
        end_all(below)
        end_group(child.pid)
        child.join()
        child.close()
    for connection in connections:
        connection.close()


def _look(child: ForkServerProcess, meter: Meter, limits: Limits) -> None:
    if child.pid is not None:
        meter.sample(child.pid, family=limits.family)


def _too_large(meter: Meter, limits: Limits) -> str:
    has, may = meter.peak_bytes // _MEBIBYTE, (limits.memory_bytes or 0) // _MEBIBYTE
    return (
        f"had {has:,} MiB of memory, more than the {may:,} MiB that it may have, and was stopped; {_FEWER_ROWS}, "
        "or let it have more (TRAINING_MEMORY_MB)"
    )


def _too_busy(limits: Limits) -> str:
    return (
        f"used more than {limits.cpu_seconds:g} s of processor time and was stopped; search fewer trials "
        f"(model.search.trials), {_FEWER_ROWS}, or let it have more (TRAINING_CPU_SECONDS)"
    )


def _how_it_died(child: ForkServerProcess, limits: Limits) -> str:
    child.join()
    code = child.exitcode or 0
    if code >= 0:
        return f"ended its process with code {code} and no answer; its log says why"
    if -code == signal.SIGXCPU:
        return _too_busy(limits)
    return _KILLED.format(signal=-code, name=signal.Signals(-code).name)


def _child(
    answering: Connection,
    watched: Connection,
    work: Callable[..., Result],
    job: Job,
    cpu_seconds: float | None,
    tells: bool,
) -> None:
    """The child's whole life."""
    os.setsid()  # so that what it starts is found by its group, even when it is gone itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when it ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_service, args=(watched,), daemon=True).start()
    _limit_oneself(cpu_seconds)
    try:
        given = (job, partial(_tell, answering)) if tells else (job,)
        told = _ANSWER + msgspec.msgpack.encode(work(*given))
    except PermanentError as error:
        told = _FAILURE + msgspec.msgpack.encode(str(error))
    except TransientError as error:
        told = _LATER + msgspec.msgpack.encode(str(error))
    except Exception as error:  # noqa: BLE001  told to the service, which tells everybody
        told = _FAILURE + msgspec.msgpack.encode(f"{type(error).__name__}: {error}")
    answering.send_bytes(_USAGE + msgspec.msgpack.encode(own_usage()))
    answering.send_bytes(told)


def _tell(answering: Connection, progress: object) -> None:
    answering.send_bytes(_PROGRESS + msgspec.msgpack.encode(progress))


def _limit_oneself(cpu_seconds: float | None) -> None:
    """Where the machine allows it: none of it is needed for the work."""
    with contextlib.suppress(OSError):
        os.nice(_NICER)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILL_FIRST)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds the rows that were learnt from
    if cpu_seconds is not None:
        most = math.ceil(
            cpu_seconds
        )  # fewer than a limit that there is already, or the kernel refuses
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        if hard == resource.RLIM_INFINITY or most + _GRACE_SECONDS <= hard:
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + _GRACE_SECONDS))


def _end_with_the_service(watched: Connection) -> None:
    with contextlib.suppress(OSError, EOFError):
        watched.recv_bytes()  # nothing ever comes
    me = os.getpid()
    end_all(each for each in family_of((me,)) if each.pid != me)
    os._exit(1)
