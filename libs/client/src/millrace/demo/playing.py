"""Plays history into the loop, tells what happens, and returns when all of it has come out at the other end."""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import quote

from rich.progress import Progress, TaskID

from millrace.demo.flow import Flow
from millrace.demo.story import TYPES, Story
from millrace.errors import ClientError
from millrace.feed import follow
from millrace.replay.ordering import RawMessage
from millrace.replay.pace import Pace, Sent
from millrace.replay.sending import Sender
from millrace.settings import Settings
from millrace.web import get_if_there
from millrace_bus.broker import Broker
from millrace_contracts.catalogue import PACKAGE
from millrace_kernel.time import as_datetime

_STALLED_SECONDS = 45.0
_SETTLING_SECONDS = 30.0
_ASKING_SECONDS = 1.0  # the last label may have proven a drift whose run is being asked for
_PAUSE_SECONDS = 0.2


class Player:
    """One pipeline's history. `tell` prints a line of the story."""

    def __init__(
        self, settings: Settings, broker: Broker, pipeline: str, tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._pipeline = pipeline
        self._tell = tell
        self._story = Story(pipeline)
        self._flow = Flow(self._story)

    async def play(self, messages: Sequence[RawMessage], rate: float, bar: Progress) -> None:
        """Return when every event is scored and every label joined. Raises ClientError when nothing moves any more."""
        events = sum(not message.is_label for message in messages)
        task = bar.add_task("2011-01-01", total=events)
        listening = asyncio.ensure_future(self._listen(bar, task))
        playing = asyncio.ensure_future(self._send_and_settle(messages, rate, events))
        try:
            await asyncio.wait([listening, playing], return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()  # it only ends by failing
            await playing
        finally:
            for each in (playing, listening):
                each.cancel()
            await asyncio.gather(playing, listening, return_exceptions=True)

    async def _listen(self, bar: Progress, task: TaskID) -> None:
        types = [f"{PACKAGE}.{name}" for name in TYPES]
        async for batch in follow(self._broker, types, from_beginning=True):
            for line in self._story.hear(batch):
                self._tell(line)
            day = as_datetime(self._story.newest).date().isoformat()
            bar.update(task, completed=len(self._story.scored), description=day)
            self._flow.heard()

    async def _send_and_settle(
        self, messages: Sequence[RawMessage], rate: float, events: int
    ) -> None:
        def progress(sent: Sent) -> None:
            """What has been scored is what counts; that moves the bar."""

        await Sender(self._broker).send_all(messages, Pace(rate=rate), progress, self._flow.wait)
        labels = len(messages) - events
        await self._until_nothing_is_missing(events, labels)
        await self._until_joined()
        await self._until_decided()

    async def _until_nothing_is_missing(self, events: int, labels: int) -> None:
        loop = asyncio.get_running_loop()
        newest, seen = loop.time(), (0, 0)
        while (now := (len(self._story.scored), self._story.labels)) < (events, labels):
            if now != seen:
                newest, seen = loop.time(), now
            if loop.time() - newest > _STALLED_SECONDS:
                raise ClientError(
                    f"of {events} events {now[0]} are scored, of {labels} labels {now[1]} are there, and nothing came for "
                    f"{_STALLED_SECONDS:g} s; the services' logs are in {self._settings.logs}"
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _until_joined(self) -> None:
        """Until monitoring has put every label beside its answer, as it says itself."""
        path = f"/v1/pipelines/{quote(self._pipeline, safe='')}/status"
        deadline = asyncio.get_running_loop().time() + _STALLED_SECONDS
        joined = -1
        while joined < self._story.errors.joined:
            if asyncio.get_running_loop().time() > deadline:
                raise ClientError(
                    f"monitoring has joined {joined} of {self._story.errors.joined} labels; "
                    f"its log is {self._settings.logs / 'monitoring.log'}"
                )
            status = await asyncio.to_thread(get_if_there, self._settings, "monitoring", path)
            versions = (status or {}).get("versions", {})
            joined = sum(each["events"] for each in versions.values())
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _until_decided(self) -> None:
        """The last runs end as well; one that takes very long is not waited for."""
        await asyncio.sleep(_ASKING_SECONDS)
        for _ in range(int(_SETTLING_SECONDS / _PAUSE_SECONDS)):
            if not self._story.deciding:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
