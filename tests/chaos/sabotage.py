"""Broken variants of the bus: each breaks one rule of the guarantee, and must make the suite fail.

A check that can't fail proves nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.stages import die
from tests.chaos.tricks import Deaths

from millrace_bus import sql_worker
from millrace_bus.broker import TopicPartition
from millrace_bus.ledger import Ledger
from millrace_bus.partition import Partition
from millrace_bus.stream import StreamWorker
from millrace_kernel.errors import TransientError


def commit_before_send(folder: Path, *, kills: int = 0, after: int = 0) -> None:
    """State and position are written first, the outputs are sent afterwards. Dies `kills` times in between, each time
    in the `after`-th step of its life."""
    deaths, steps = Deaths(folder, "commit-before-send"), [0]
    send, advance = StreamWorker._send, StreamWorker._advance
    held: list[tuple[StreamWorker, Any, Sequence[Any]]] = []

    async def hold(self: StreamWorker, producer: Any, messages: Sequence[Any]) -> None:
        held.append((self, producer, messages))

    async def commit_then_send(self: StreamWorker, *arguments: Any) -> None:
        held.clear()
        await advance(self, *arguments)
        steps[0] += any(messages for _, _, messages in held)
        if deaths.count < kills and steps[0] >= after:
            deaths.add()
            die()
        for worker, producer, messages in held:
            await send(worker, producer, messages)

    StreamWorker._send = hold
    StreamWorker._advance = commit_then_send


def fence_off(folder: Path) -> None:
    """Whatever comes is new."""

    def never(self: Partition, headers: Mapping[str, bytes], fences: dict[bytes, bytes]) -> bool:
        return False

    def never_seen(message: Any, fences: Mapping[str, str], raised: dict[str, str]) -> bool:
        return False

    Partition._seen = never
    sql_worker._seen = never_seen


def sender_goes_on(folder: Path) -> None:
    """A send that failed is forgotten; the next batch leaves as if nothing had been."""
    send = StreamWorker._send

    async def shrug(self: StreamWorker, producer: Any, messages: Sequence[Any]) -> None:
        try:
            await send(self, producer, messages)
        except TransientError:
            return

    StreamWorker._send = shrug


def fence_cached(folder: Path) -> None:
    """Fences are read from the database once, and believed from then on: also after the partition was another's."""
    known: dict[TopicPartition, dict[str, str]] = {}
    read, write = Ledger.fences, Ledger.raise_fences

    def remembered(self: Ledger, place: TopicPartition, sources: Iterable[str]) -> dict[str, str]:
        wanted, cached = set(sources), known.setdefault(place, {})
        cached.update(read(self, place, wanted - cached.keys()))
        return {source: cached[source] for source in wanted & cached.keys()}

    def raised(self: Ledger, place: TopicPartition, sequences: Mapping[str, str]) -> None:
        known.setdefault(place, {}).update(sequences)
        write(self, place, sequences)

    Ledger.fences = remembered
    Ledger.raise_fences = raised


VARIANTS: Mapping[str, Callable[..., None]] = {
    "commit-before-send": commit_before_send,
    "fence-off": fence_off,
    "sender-goes-on": sender_goes_on,
    "fence-cached": fence_cached,
}
