"""Serving on the bus: its followers, and the stream that waits for them."""

import asyncio
from collections.abc import Iterable, Sequence

from millrace_bus.follower import Follower, Reaction
from millrace_bus.store import Bytes
from millrace_bus.stream import Batch, StreamSettings, StreamWorker
from millrace_contracts.message import Message
from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import PipelineName
from millrace_service.process import Component, chance
from millrace_serving.application.deployer import Deployer
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_serving.application.handlers import on_vectors
from millrace_serving.bootstrap import NAME, Parts
from millrace_serving.entrypoints.shadows import Shadows, trials_follower


def components(parts: Parts) -> list[Component]:
    """Everything that works while the service runs."""
    followers = [_pipelines_follower(parts), _models_follower(parts)]
    optional = [part for part in (parts.vectors, parts.explainer) if part is not None]
    trials = trials_follower(parts)
    shadows = Shadows(parts, trials)
    stream = AfterHistory(_stream(parts), [*followers, shadows])
    challenging: list[Component] = [trials, shadows]
    return [*followers, *challenging, stream, parts.publisher, parts.announcer, *optional]


class AfterHistory:
    """Starts a component when followers have read history: before, the fallback would answer in the champion's place."""

    def __init__(self, component: Component, followers: Sequence[Component]) -> None:
        self.ready = component.ready
        self._component = component
        self._followers = followers

    async def run(self) -> None:
        await asyncio.gather(*(follower.ready.wait() for follower in self._followers))
        await self._component.run()


class Promotions:
    """What the follower of `millrace.models` does with a message, and what it answers."""

    def __init__(self, deployer: Deployer) -> None:
        self._deployer = deployer
        self._news: set[tuple[int, int]] = (
            set()
        )  # where each epoch was first heard of: only that message is answered

    def fold(self, message: Message) -> None:
        if message.event is not None and self._deployer.hear(message.event):
            self._news.add((message.partition, message.offset))

    async def react(self, messages: Sequence[Message]) -> Iterable[Reaction]:
        """Carry out what is due. Asked again about old messages it answers the same: the first answer may have been lost."""
        await self._deployer.carry_out()
        news = [
            message for message in messages if (message.partition, message.offset) in self._news
        ]
        outcomes = [(message, self._deployer.outcome(message.event.champion)) for message in news]
        return [Reaction(message, outcome) for message, outcome in outcomes if outcome is not None]


def _pipelines_follower(parts: Parts) -> Follower:
    def fold(message: Message) -> None:
        if message.event is not None:
            parts.pipelines.apply(message.event)
        elif message.key is not None:
            parts.pipelines.end(PipelineName(message.key.decode()))

    return Follower(
        f"{NAME}/{parts.settings.serving_instance}",
        ["millrace.pipelines"],
        wire=parts.wire,
        fold=fold,
        broker=parts.broker,
        chance=chance,
        tracing=parts.tracing,
    )


def _models_follower(parts: Parts) -> Follower:
    promotions = Promotions(parts.deployer)
    return Follower(
        f"{NAME}/{parts.settings.serving_instance}",
        ["millrace.models"],
        wire=parts.wire,
        fold=promotions.fold,
        react=promotions.react,
        broker=parts.broker,
        chance=chance,
        tracing=parts.tracing,
    )


def _stream(parts: Parts) -> StreamWorker:
    def process(batch: Batch) -> None:
        vectors = [message.event for message in batch.messages]
        place = batch.messages[0].record
        try:
            outcomes = on_vectors(vectors, parts.pipelines, parts.deployments, parts.routing)
        except ModelNotLoadedError as error:
            parts.deployer.want(f"{place.topic}/{place.partition}", error.pipelines)
            raise  # this partition comes again in a moment; the others go on
        parts.deployments.hold(f"{place.topic}/{place.partition}", ())
        for message, outcome in zip(batch.messages, outcomes, strict=True):
            if isinstance(outcome, PermanentError):
                batch.reject(message, outcome)
            else:
                batch.emit(message, outcome)

    return StreamWorker(
        NAME,
        ["millrace.features"],
        wire=parts.wire,
        process=process,
        codec=Bytes(),
        broker=parts.broker,
        settings=StreamSettings(
            parts.settings.state_directory,
            max_records=parts.settings.serving_records_at_once,
            snapshot_seconds=parts.settings.state_snapshot_seconds,
            accept_lost_records=parts.settings.state_accept_lost_records,
        ),
        chance=chance,
        snapshots=parts.snapshots,
        tracing=parts.tracing,
        metrics=parts.metrics,
    )
