"""The bus with one rule of the guarantee broken: what the model must find, or its silence proves nothing."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import delete, insert

from millrace_bus import fence, tables
from millrace_bus.broker import Producer, TopicPartition
from millrace_bus.ledger import Ledger
from millrace_bus.outputs import by_partition
from millrace_bus.partition import Partition, Step
from millrace_bus.relay import Relay
from millrace_bus.sql_worker import SqlWorker
from millrace_bus.stream import StreamWorker
from millrace_contracts.message import Message, Outgoing, Record
from millrace_testkit.schedule import current_process


@contextmanager
def commit_before_send() -> Iterator[None]:
    """State and position are written when a batch is handled; then its outputs are sent."""
    handle = Partition.handle

    def hasty(self: Partition, records: Sequence[Record]) -> Step:
        step = handle(self, records)
        self.store.commit(step.position, step.fences, step.state)
        return step

    with patch.object(Partition, "handle", hasty):
        yield


@contextmanager
def fence_switched_off() -> Iterator[None]:
    """Every message counts, whatever was seen before."""
    with patch.object(fence, "_is_new", lambda mark, known: True):  # noqa: ARG005
        yield


@contextmanager
def sender_that_goes_on() -> Iterator[None]:
    """A batch that was not acknowledged is forgotten, and the next one leaves: in both forms."""

    async def send(self: StreamWorker, producer: Producer, messages: Sequence[Outgoing]) -> None:  # noqa: ARG001
        await _send_and_forget(producer, messages)

    async def publish(
        self: Relay, producer: Producer, owed: Sequence[tuple[int, Outgoing]]
    ) -> None:
        await _send_and_forget(producer, [message for _, message in owed])
        await asyncio.to_thread(self._paid, [number for number, _ in owed])

    with patch.object(StreamWorker, "_send", send), patch.object(Relay, "_publish", publish):
        yield


async def _send_and_forget(producer: Producer, messages: Sequence[Outgoing]) -> None:
    placed = await by_partition(producer, messages)
    sends = (producer.send(place.topic, place.partition, part) for place, part in placed.items())
    await asyncio.gather(*sends, return_exceptions=True)


@contextmanager
def fence_raised_before_the_commit() -> Iterator[None]:
    """A stream's fence moves in memory when a message is looked at, and stays there when its batch fails."""

    def seen(self: Partition, message: Message, fences: dict[bytes, bytes]) -> bool:
        answer = fence.has_seen(message, self.store.fences, self.store.fences)
        fences.update(self.store.fences)
        return answer

    with patch.object(Partition, "_seen", seen):
        yield


@contextmanager
def fence_cached_across_a_lost_partition() -> Iterator[None]:
    """A process remembers the fences of a partition while another one has it, and goes by them when it comes back."""
    caches: dict[tuple[object, TopicPartition], dict[str, str]] = {}
    fences, raise_fences = Ledger.fences, Ledger.raise_fences

    def cached(self: Ledger, place: TopicPartition, sources: Iterable[str]) -> dict[str, str]:
        known = caches.setdefault((current_process(), place), {})
        wanted = set(sources)
        known.update(fences(self, place, wanted - known.keys()))
        return {source: known[source] for source in wanted & known.keys()}

    def raised(self: Ledger, place: TopicPartition, sequences: Mapping[str, str]) -> None:
        raise_fences(self, place, sequences)
        caches.setdefault((current_process(), place), {}).update(sequences)

    with patch.object(Ledger, "fences", cached), patch.object(Ledger, "raise_fences", raised):
        yield


@contextmanager
def position_set_without_comparing() -> Iterator[None]:
    """Whoever has read a batch commits it, wherever the position stands."""
    apply: Callable[..., Any] = SqlWorker._apply  # noqa: SLF001

    def move(self: Ledger, place: TopicPartition, expected: int | None, position: int) -> None:  # noqa: ARG001
        table = tables.positions
        here = (table.c.topic == place.topic) & (table.c.partition == place.partition)
        row = {"topic": place.topic, "partition": place.partition, "next_offset": position}
        self._connection.execute(delete(table).where(here))
        self._connection.execute(insert(table).values(row))

    def blind(self: SqlWorker, *arguments: Any) -> Any:
        with (
            patch.object(Ledger, "position", lambda self, place: None),  # noqa: ARG005
            patch.object(Ledger, "move", move),
        ):
            return apply(self, *arguments)

    with patch.object(SqlWorker, "_apply", blind):
        yield
