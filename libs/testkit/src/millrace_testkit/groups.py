"""Consumer groups as Kafka and aiokafka keep them: everybody gives everything up, joins, and is dealt a share.

A member that does not answer holds the group up until it is evicted; an evicted member reads on without being told,
until it notices and joins again. What a listener raises is logged and forgotten, as aiokafka does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from millrace_bus.broker import RebalanceListener, TopicPartition

logger = logging.getLogger(__name__)

Places = Callable[[str], Sequence[TopicPartition]]


class _EvictedError(Exception):
    """The group went on without this member, which finds out now."""


class Member:
    """One consumer's part in its group. `taken` is told of each new share before the listener is."""

    def __init__(
        self,
        group: "Group",
        listener: RebalanceListener | None,
        taken: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self.topics: frozenset[str] = frozenset()
        self.settled = asyncio.Event()
        """Cleared while the group is dealing: polls and commits wait, as in aiokafka."""
        self._group = group
        self._listener = listener
        self._taken = taken
        self._share: Sequence[TopicPartition] = ()
        self._rejoin = asyncio.Event()
        self._telling = asyncio.Lock()
        self._routine: asyncio.Task[None] | None = None

    def subscribe(self, topics: Collection[str]) -> None:
        self.topics = frozenset(topics)
        self._rejoin.set()
        if self._routine is None:
            self._routine = asyncio.ensure_future(self._take_part())

    def called(self) -> None:
        """Heartbeats say that the group deals again, or that it no longer knows this member."""
        self._rejoin.set()

    async def stop(self) -> None:
        """Leave. What the listener is being told is waited for; that the share is lost is not told."""
        if self._routine is None:
            return
        async with self._telling:
            self._routine.cancel()
        with suppress(asyncio.CancelledError):
            await self._routine
        self._group.leave(self)

    async def _take_part(self) -> None:
        while True:
            self._rejoin.clear()
            self.settled.clear()
            async with self._telling:
                await self._tell(revoked=self._share)
            try:
                self._share = await self._group.join(self)
            except _EvictedError:
                continue
            async with self._telling:
                self._taken(self._share)
                self.settled.set()  # before the listener has sought its positions: polls may be faster
                await self._tell(assigned=self._share)
            await self._rejoin.wait()

    async def _tell(
        self,
        *,
        revoked: Sequence[TopicPartition] | None = None,
        assigned: Sequence[TopicPartition] | None = None,
    ) -> None:
        if self._listener is None:
            return
        try:
            if revoked is not None:
                await self._listener.revoked(revoked)
            if assigned is not None:
                await self._listener.assigned(assigned)
        except Exception:
            logger.exception("a rebalance listener failed; the group goes on, as with aiokafka")


class Group:
    """The broker's side of a group."""

    def __init__(self, places: Places) -> None:
        self.owners: dict[TopicPartition, Member] = {}
        self.offsets: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self._joining: dict[Member, asyncio.Future[Sequence[TopicPartition]]] = {}
        self._places = places

    async def join(self, member: Member) -> Sequence[TopicPartition]:
        """Wait until every member has joined; the share that is dealt."""
        if member not in self.members:
            self.members.append(member)
        answer: asyncio.Future[Sequence[TopicPartition]]
        answer = self._joining[member] = asyncio.get_running_loop().create_future()
        self._call()
        return await answer

    def leave(self, member: Member) -> None:
        self._joining.pop(member, None)
        self._forget(member)

    def evict(self, member: Member) -> None:
        """Its session has timed out; it does not know. It may still wait for a share that never comes."""
        self._forget(member)

    def notice(self, member: Member) -> None:
        """The evicted member hears of it."""
        if member in self.members:
            return
        answer = self._joining.pop(member, None)
        if answer is not None and not answer.done():
            answer.set_exception(_EvictedError())
        member.called()

    def _forget(self, member: Member) -> None:
        if member in self.members:
            self.members.remove(member)
            self.owners = {p: owner for p, owner in self.owners.items() if owner is not member}
            self._call()

    def _call(self) -> None:
        """Deal, if everybody has joined; else let the others know that they should."""
        late = [member for member in self.members if member not in self._joining]
        for member in late:
            member.called()
        if not late:
            self._deal()

    def _deal(self) -> None:
        self.owners = {}
        for topic in sorted({topic for member in self.members for topic in member.topics}):
            readers = [member for member in self.members if topic in member.topics]
            for number, place in enumerate(self._places(topic)):
                self.owners[place] = readers[number % len(readers)]
        for member in self.members:
            answer = self._joining.pop(member)
            if not answer.done():
                answer.set_result([p for p, owner in self.owners.items() if owner is member])
