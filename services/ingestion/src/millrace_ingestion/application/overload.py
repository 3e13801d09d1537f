"""When HTTP takes no more rows, and when it pays to come again.

Two things are bounded: the bytes that requests hold in this process until the broker has them, and how far this
instance's own reader is behind in the raw topic that the rows are for. Both are known before a request is read, so a
refused request costs nothing. How long they will take to come down is computed from how fast they have come down lately.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, exp, inf

from millrace_kernel.errors import TransientError

REQUEST_BYTES = 20_000
"""What a request costs beside its body: its task, its connection's buffers, its headers."""

_ENOUGH = (
    0.5  # of a bound: come again when so much is left, or everybody would be refused again at once
)
_REMEMBERED_SECONDS = 5.0  # about: older speeds count less and less
_NOT_KNOWN_SECONDS = 2.0

Place = tuple[str, int]  # topic and partition


class Reason(StrEnum):
    WAITING = "waiting"  # for the broker
    LAG = "lag"  # of the reader of the raw topics


class OverloadedError(TransientError):
    """No more is taken now; nothing of the request was appended. `seconds`: after which to come again."""

    def __init__(self, reason: Reason, detail: str, seconds: int) -> None:
        super().__init__(f"{detail}; nothing was appended, send again after {seconds} s")
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait, and the longest that anybody is told to stay away."""

    most_bytes: int
    most_lag: int
    longest_seconds: int = 30


class Rate:
    """Something per second, as lately measured."""

    def __init__(self) -> None:
        self._known: float | None = None

    def measured(self, amount: float, seconds: float) -> None:
        """Only for time in which there was something to do: being idle is not being slow."""
        if seconds <= 0:
            return
        now = max(0.0, amount) / seconds
        known = now if self._known is None else self._known
        self._known = known + (1 - exp(-seconds / _REMEMBERED_SECONDS)) * (now - known)

    def seconds_for(self, amount: float) -> float:
        if self._known is None:
            return _NOT_KNOWN_SECONDS
        return amount / self._known if self._known else inf


def seconds_to_stay_away(needed: float, longest: int, chance: float) -> int:
    """Whole seconds from 1 to `longest`, spread by `chance` (from 0 to 1) so that those refused don't come back together.

    At least what is needed, and up to half as much again; where that is longer than `longest`, its upper half.
    """
    spread = needed * (1 + chance / 2)
    if spread > longest:
        spread = longest * (1 + chance) / 2
    return min(longest, max(1, ceil(spread)))


class Held:
    """What one request holds."""

    def __init__(self, gate: "Gate") -> None:
        self.bytes = 0
        self._gate = gate

    def add(self, size: int) -> None:
        """Raises OverloadedError when all requests together would hold too much. One alone may hold more than the bound."""
        self._gate.hold(self, size)


class Gate:
    """Lets requests in. Told by `looked`, now and then, where the reader of the raw topics is.

    `late_bytes`: of requests that have been answered for, but whose rows the broker still may take.
    """

    def __init__(
        self, bounds: Bounds, late_bytes: Callable[[], int], chance: Callable[[], float]
    ) -> None:
        self._bounds = bounds
        self._late_bytes = late_bytes
        self._chance = chance
        self._in_hand = 0
        self._released = 0
        self._was_holding = False
        self._release_rate = Rate()
        self._looked_at: float | None = None
        self._read_at = -inf
        self._positions: Mapping[Place, int] = {}
        self._lags: Mapping[str, int] = {}
        self._rates: dict[str, Rate] = {}

    @property
    def held_bytes(self) -> int:
        return self._in_hand + self._late_bytes()

    @property
    def lags(self) -> Mapping[str, int]:
        """Messages of each raw topic that this instance has still to handle, as last seen."""
        return self._lags

    @contextmanager
    def request(self, topic: str, announced_bytes: int) -> Iterator[Held]:
        """Around all that is done for one request. Raises OverloadedError before any of it is read."""
        held = Held(self)
        self._make_sure_of_reader(topic)
        self._make_sure_of_room(held, REQUEST_BYTES + announced_bytes)
        self.hold(held, REQUEST_BYTES)
        try:
            yield held
        finally:
            self._in_hand -= held.bytes
            self._released += held.bytes

    def hold(self, held: Held, size: int) -> None:
        """Raises OverloadedError when there is no room for so many bytes more in this request."""
        self._make_sure_of_room(held, size)
        held.bytes += size
        self._in_hand += size

    def looked(self, at: float, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """`at` is in seconds of a clock that only goes forward; `positions` are of the partitions read here.

        A reader that has none is most likely between two sessions, because the broker fails it: for a while it counts as
        being where it was.
        """
        if positions:
            self._read_at = at
        elif at - self._read_at <= self._bounds.longest_seconds:
            positions = self._positions
        seconds = 0.0 if self._looked_at is None else at - self._looked_at
        handled: Counter[str] = Counter()
        for place, position in positions.items():
            handled[place[0]] += position - self._positions.get(place, position)
        for topic, count in handled.items():
            rate = self._rates.setdefault(topic, Rate())
            if self._lags.get(topic):
                rate.measured(count, seconds)
        if self._was_holding:
            self._release_rate.measured(self._released, seconds)
        self._released, self._was_holding = 0, bool(self.held_bytes)
        lags: Counter[str] = Counter()
        for place, position in positions.items():
            lags[place[0]] += max(0, ends.get(place, position) - position)
        self._looked_at, self._positions, self._lags = at, dict(positions), lags

    def could_not_look(self) -> None:
        """What was seen is no longer true: the broker will say by itself whether it takes rows."""
        self._looked_at, self._positions, self._lags = None, {}, {}

    def _make_sure_of_room(self, held: Held, size: int) -> None:
        total, most = self.held_bytes, self._bounds.most_bytes
        if total > held.bytes and total + size > most:
            excess = total + size - _ENOUGH * most
            raise self._overloaded(
                Reason.WAITING,
                f"requests hold {total} bytes that wait for the broker, and no more than {most} may",
                self._release_rate.seconds_for(excess),
            )

    def _make_sure_of_reader(self, topic: str) -> None:
        lag, most = self._lags.get(topic, 0), self._bounds.most_lag
        if lag > most:
            raise self._overloaded(
                Reason.LAG,
                f"{lag} messages of {topic} wait to be handled, and no more than {most} may before new ones are taken",
                self._rates[topic].seconds_for(lag - _ENOUGH * most),
            )

    def _overloaded(self, reason: Reason, detail: str, needed: float) -> OverloadedError:
        seconds = seconds_to_stay_away(needed, self._bounds.longest_seconds, self._chance())
        return OverloadedError(reason, detail, seconds)
