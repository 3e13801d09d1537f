"""How fast history is sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from millrace.replay.ordering import RawMessage
from millrace_kernel.time import SECOND

MOST_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Sent:
    """How far it is. Labels are messages, and not events."""

    messages: int = 0
    events: int = 0

    def with_next(self, messages: Sequence[RawMessage]) -> "Sent":
        events = sum(not message.is_label for message in messages)
        return Sent(self.messages + len(messages), self.events + events)


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `rate` events a second, or `speed` times as fast as it happened; neither: as fast as it is acknowledged."""

    rate: float | None = None
    speed: float | None = None

    def due(
        self, messages: Sequence[RawMessage], sent: Sent, seconds: float
    ) -> Sequence[RawMessage]:
        """The next messages to go, so many seconds after the first; none when it is too early."""
        upcoming = messages[sent.messages : sent.messages + MOST_AT_ONCE]
        if self.rate is not None:
            return _first_events(upcoming, int(self.rate * seconds) + 1 - sent.events)
        if self.speed is not None and messages:
            return _until(upcoming, messages[0].recorded_at + seconds * self.speed * SECOND)
        return upcoming


def _first_events(messages: Sequence[RawMessage], events: int) -> Sequence[RawMessage]:
    """The messages up to so many events, with the labels between them and behind the last."""
    for at, message in enumerate(messages):
        if not message.is_label:
            if events <= 0:
                return messages[:at]
            events -= 1
    return messages


def _until(messages: Sequence[RawMessage], at: float) -> Sequence[RawMessage]:
    for index, message in enumerate(messages):
        if message.recorded_at > at:
            return messages[:index]
    return messages
