"""Challengers on the bus: a follower that hears of trials, and for each trial a reader of the stream beside the champion's.

Each has a consumer group, a state folder and a source of its own, so that nothing of it is mixed up with the answers that
users get; what it has written is dropped by readers when it is written again, as with any other stream.
"""

import asyncio
import contextlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from millrace_bus.follower import Follower
from millrace_bus.store import Bytes
from millrace_bus.stream import Batch, StreamSettings, StreamWorker
from millrace_contracts.message import Message
from millrace_kernel.ids import PipelineName
from millrace_service.process import chance
from millrace_serving.application.challengers import Shadowed, on_shadowed
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_serving.application.routing import Running
from millrace_serving.bootstrap import NAME, Parts

logger = logging.getLogger(__name__)

AT_ONCE = (
    200  # vectors that are scored for comparison before the answers that users get have their turn
)
RETRY_SECONDS = 5.0

_Key = tuple[PipelineName, int]


def trials_follower(parts: Parts) -> Follower:
    def fold(message: Message) -> None:
        if message.event is not None:
            parts.challengers.hear(message.event)

    return Follower(
        f"{NAME}/{parts.settings.serving_instance}/challengers",
        ["millrace.models"],
        wire=parts.trials_wire,
        fold=fold,
        broker=parts.broker,
        chance=chance,
        tracing=parts.tracing,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    task: asyncio.Task[None]
    folder: Path


class Shadows:
    """Keeps a reader for each trial whose challenger is in memory; what goes wrong in one ends its trial, and nothing else."""

    def __init__(self, parts: Parts, follower: Follower) -> None:
        self.ready = asyncio.Event()
        self._parts = parts
        self._follower = follower
        self._folder = parts.settings.state_directory / "challengers"
        self._readers: dict[_Key, _Reader] = {}

    async def run(self) -> None:
        """Until cancelled. Ready when history is read and every challenger was tried once."""
        changed = self._parts.challengers.changed
        self._parts.routing.soon = asyncio.get_running_loop().call_soon_threadsafe
        await self._follower.ready.wait()
        self._sweep()
        try:
            while True:
                changed.clear()
                is_settled = await self._parts.challengers.settle()
                await self._match()
                self.ready.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if is_settled else RETRY_SECONDS):
                        await changed.wait()
        finally:
            await self._stop(list(self._readers))

    def _sweep(self) -> None:
        """What trials that ended while nobody was here have left."""
        kept = {self._folder_of(_key_of(running)) for running in self._parts.challengers.running()}
        for folder in self._folder.glob("*"):
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    async def _match(self) -> None:
        """Readers for the trials there are, and for no others."""
        wanted = {
            _key_of(running): running
            for running in self._parts.challengers.running()
            if running.deployment is not None
        }
        gone = {key: self._readers[key] for key in self._readers.keys() - wanted.keys()}
        await self._stop(list(gone))
        for reader in gone.values():
            shutil.rmtree(reader.folder, ignore_errors=True)
        for key in wanted.keys() - self._readers.keys():
            task = asyncio.create_task(self._read(key, wanted[key]))
            self._readers[key] = _Reader(task, self._folder_of(key))

    async def _stop(self, keys: list[_Key]) -> None:
        tasks = [self._readers.pop(key).task for key in keys]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _read(self, key: _Key, running: Running) -> None:
        try:
            await self._worker(key, running).run()
        except Exception as error:
            logger.exception("a challenger's reader has stopped", extra={"pipeline": key[0]})
            self._parts.routing.fail(key[0], f"its reader has stopped: {error!r}")
            self._parts.challengers.changed.set()

    def _worker(self, key: _Key, running: Running) -> StreamWorker:
        parts, (name, number) = self._parts, key

        def process(batch: Batch) -> None:
            shadowed = [Shadowed(message.event, message.recorded_at) for message in batch.messages]
            holder = f"challengers/{name}/{number}/{batch.messages[0].partition}"
            try:
                outcomes = on_shadowed(
                    shadowed, name, parts.pipelines, parts.deployments, parts.routing
                )
            except ModelNotLoadedError as error:
                parts.deployer.want(holder, error.pipelines)
                raise  # this partition comes again in a moment
            parts.deployments.hold(holder, ())
            for message, predictions in zip(batch.messages, outcomes, strict=True):
                for prediction in predictions:
                    batch.emit(message, prediction)

        return StreamWorker(
            f"{NAME}-challengers/{name}/{number}",
            ["millrace.features"],
            wire=parts.trial_wire(running.trial),
            process=process,
            codec=Bytes(),
            broker=parts.broker,
            settings=StreamSettings(
                self._folder_of(key),
                max_records=min(AT_ONCE, parts.settings.serving_records_at_once),
                accept_lost_records=True,  # a comparison goes on with what there is
            ),
            chance=chance,
            tracing=parts.tracing,
        )

    def _folder_of(self, key: _Key) -> Path:
        return self._folder / f"{key[0]}-{key[1]}"


def _key_of(running: Running) -> _Key:
    return running.trial.pipeline, running.trial.number
