"""Explanations by processes of their own, so that neither the event loop nor an answer ever waits for one."""

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from contextlib import suppress

import msgspec
import numpy as np
from typing_extensions import override

from millrace_artifacts.explaining import HEAD_BYTES, Question, Reply, framed, length_of
from millrace_artifacts.seal import Seal, Statement, Vault
from millrace_kernel.errors import PermanentError, TransientError
from millrace_serving.application.explanations import Explainer
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import Rows
from millrace_serving.domain.explanation import Explanation

logger = logging.getLogger(__name__)

_CHILD = "millrace_artifacts.explaining"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PATIENCE = 3  # processes that one model may cost before it is asked no more
_decode = msgspec.msgpack.Decoder(Reply).decode


class ExplainerPool(Explainer):
    """So many processes, started when they are first needed, and so many requests that wait for one; more are refused.

    A component of the service: when it ends, its processes do. They also end by themselves when the service is killed,
    for their questions end with it. One that is too slow, or whose request was given up, is killed: what it would still
    say would be taken for the answer to the next question.
    """

    def __init__(
        self, vault: Vault, *, processes: int, waiting: int, seconds: float, child: str = _CHILD
    ) -> None:
        self.ready = asyncio.Event()
        self._vault = vault
        self._most = processes + waiting
        self._turn = asyncio.Semaphore(processes)
        self._waiting = waiting
        self._seconds = seconds
        self._child = child
        self._asked = 0
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._lost: Counter[str] = Counter()  # processes, by the digest they were asked about
        self._stopped = False

    @property
    def processes(self) -> int:
        """How many there are now."""
        return len(self._all)

    async def run(self) -> None:
        """Until cancelled."""
        self.ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            self._stopped = True
            for process in list(self._all):
                await self._end(process)

    @override
    async def explain(self, champion: Champion, rows: Rows) -> Explanation:
        if self._stopped:
            raise TransientError("this instance of serving has stopped; ask another one")
        if self._asked >= self._most:
            raise TransientError(
                f"{self._waiting} explanations are waited for already; ask again in a moment, or without explain"
            )
        self._asked += 1
        try:
            async with self._turn:
                reply = await self._answer(champion, rows)
        finally:
            self._asked -= 1
        if reply.problem:
            raise PermanentError(reply.problem)
        explained = reply.explained(len(rows))
        return Explanation(explained.space, explained.base, explained.contributions)

    async def _answer(self, champion: Champion, rows: Rows) -> Reply:
        digest = champion.artifact_sha256
        if self._lost[digest] >= _PATIENCE:
            raise PermanentError(
                f"explaining version {champion.version} of {champion.pipeline} has ended {_PATIENCE} processes; "
                "it is not tried again: retrain, or ask without explain"
            )
        process = self._idle.pop() if self._idle else await self._started()
        at_rest = False  # what is no longer in the middle of a question may be asked the next
        try:
            async with asyncio.timeout(self._seconds):
                reply = await _asked(process, _question(champion, rows))
                at_rest = True
                if reply.wants_artifact:
                    content = await asyncio.to_thread(self._opened, champion)
                    at_rest = False
                    reply = await _asked(process, _question(champion, rows, content))
                    at_rest = True
        except TimeoutError:
            raise TransientError(
                f"the explanation took longer than {self._seconds:g} s and was stopped; ask for fewer rows"
            ) from None
        except (OSError, EOFError, ValueError) as error:
            at_rest = False
            raise self._was_lost(champion, error) from error
        finally:
            if at_rest and not self._stopped:
                self._idle.append(process)
            else:
                await self._end(process)
        del self._lost[digest]
        return reply

    def _was_lost(self, champion: Champion, error: Exception) -> TransientError:
        self._lost[champion.artifact_sha256] += 1
        extra = {
            "pipeline": champion.pipeline,
            "version": champion.version,
            "reason": str(error),
        }
        logger.warning("a process that explains was lost", extra=extra)
        return TransientError(
            f"the process that explains {champion.pipeline} was lost ({error}); ask again"
        )

    def _opened(self, champion: Champion) -> bytes:
        """The artifact's bytes, under the same seal as when it was deployed."""
        statement = Statement(
            champion.pipeline, champion.pipeline_version, champion.run_id, champion.artifact_sha256
        )
        seal = Seal(champion.signing_key_id, champion.artifact_signature)
        return self._vault.open(champion.artifact_uri, statement, seal)

    async def _started(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._child, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), **_ONE_THREAD},  # and none of our secrets
            start_new_session=True,  # a Ctrl-C is the service's to handle
        )  # fmt: skip
        self._all.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


async def _asked(process: Process, question: Question) -> Reply:
    """Raises OSError or EOFError when the process has ended, ValueError for what is no reply."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(question))
    await process.stdin.drain()
    head = await process.stdout.readexactly(HEAD_BYTES)
    return _decode(await process.stdout.readexactly(length_of(head)))


def _question(champion: Champion, rows: Rows, artifact: bytes | None = None) -> Question:
    numbers = np.ascontiguousarray(rows.numbers, dtype=np.float64).tobytes()
    return Question(champion.artifact_sha256, len(rows), numbers, list(rows.categories), artifact)
