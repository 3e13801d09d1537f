"""One assigned partition in the Faust runtime: what has come in order, and what follows from it."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from millrace_bus.broker import TopicPartition
from millrace_bus.dead_letters import dead_letter
from millrace_bus.fence import REJECTED, has_seen, is_for, note
from millrace_bus.outputs import Outputs
from millrace_bus.store import Codec
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Message, Outgoing, Record
from millrace_contracts.wire import WireTable
from millrace_features.adapters.faust_runtime.rows import NO_ROW, Row, decode_row, encode_row
from millrace_kernel.errors import PermanentError
from millrace_telemetry.tracing import Tracing, write_traceparent

logger = logging.getLogger(__name__)

_CACHED_ROWS = 50_000

Handler = Callable[[Message, Any], Iterable[object]]
KeyOf = Callable[[Message], bytes]


class Arrival(Protocol):
    """A record as Faust delivers it, with the means to say that it has been applied."""

    @property
    def record(self) -> Record: ...
    def ack(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reader:
    """What all partitions of one worker share. `key_of` gives the one key whose state a decoded message changes."""

    name: str
    wire: WireTable
    handler: Handler
    key_of: KeyOf
    codec: Codec
    tracing: Tracing


@dataclass(slots=True)
class Step:
    """The outcome of some records of one partition, not yet real."""

    lane: "Lane"
    arrivals: list[Arrival]
    position: int
    outgoing: list[Outgoing] = field(default_factory=list)
    rows: dict[bytes, Row] = field(default_factory=dict)
    values: dict[bytes, Any] = field(default_factory=dict)  # the states of those rows, decoded
    rejected: dict[int, PermanentError] = field(default_factory=dict)  # by offset
    spans: list[Any] = field(default_factory=list)
    handled: int = 0
    fenced: int = 0

    def encoded(self, codec: Codec) -> dict[bytes, bytes]:
        """The rows as they are stored. States are encoded here, once a step, however many messages changed them."""
        encoded = {}
        for key, row in self.rows.items():
            value = self.values[key]
            state = None if value is None else codec.encode(value)
            encoded[key] = encode_row(replace(row, state=state))
        return encoded


class RowState:
    """What the handler sees while one message is handled: the state under that message's key, and no other."""

    __slots__ = ("_key", "value")

    def __init__(self, key: bytes, value: Any) -> None:  # noqa: ANN401  the service's own
        self._key = key
        self.value = value

    def get(self, key: bytes) -> Any:  # noqa: ANN401  the service's own
        self._check(key)
        return self.value

    def put(self, key: bytes, value: Any) -> None:  # noqa: ANN401  the service's own
        self._check(key)
        self.value = value

    def _check(self, key: bytes) -> None:
        if key != self._key:
            raise ValueError(
                f"a message for {self._key!r} touches the state of {key!r}; a row of the Faust table is written alone, "
                "so a message may change the state of its own entity only"
            )


class Lane:
    """The records of one partition, in order from its position; a step of them at a time."""

    def __init__(
        self,
        place: TopicPartition,
        position: int,
        load: Callable[[bytes], bytes | None],
        reader: Reader,
    ) -> None:
        self.place = place
        self.position = position
        self.waiting: deque[Arrival] = deque()
        self.due = 0.0
        self.attempts = 0
        self.sought = 0.0  # when it was last read from elsewhere; seconds of the monotonic clock
        self.wanted = position
        self._load = load
        self._reader = reader
        self._cache: dict[bytes, tuple[Row, Any]] = {}
        source = f"millrace/{reader.name}/{place.topic}/{place.partition}"
        self._outputs = Outputs(source, reader.wire, reader.tracing)

    def admit(self, arrival: Arrival) -> bool:
        """Line up what comes next; False for a record before which others are missing: it is not taken.

        Faust may deliver from offsets that run ahead of what was applied: it acknowledges messages that a rebalance
        made it skip. The table's position counts, and whoever delivers has to be sent back to `wanted`.
        """
        offset = arrival.record.offset
        if offset > self.wanted:
            return False
        if offset == self.wanted:
            self.wanted = offset + 1
            self.waiting.append(arrival)
        elif offset < self.position:
            arrival.ack()  # applied before: lag tools may know
        return True

    def skip_to(self, offset: int) -> None:
        """Go on after records that the topic does not have any more."""
        logger.warning(
            "events are missing from the topic; going on after them",
            extra={"partition": f"{self.place.topic}/{self.place.partition}", "from": self.wanted, "to": offset},
        )  # fmt: skip
        self.wanted = offset

    def handle(self, at_most: int) -> Step:
        """Everything that follows from the first records that wait. Raises TransientError; nothing has changed then."""
        arrivals = [self.waiting[index] for index in range(min(at_most, len(self.waiting)))]
        step = Step(self, arrivals, arrivals[-1].record.offset + 1)
        for arrival in arrivals:
            self._handle(Message(arrival.record), step)
        return step

    def commit(self, step: Step) -> None:
        """The step has been stored: what it was made of is done."""
        self.position = step.position
        for arrival in step.arrivals:
            self.waiting.popleft()
            arrival.ack()
        if len(self._cache) > _CACHED_ROWS:
            self._cache.clear()
        for key, row in step.rows.items():
            self._cache[key] = (row, step.values[key])

    def _handle(self, message: Message, step: Step) -> None:
        """One message: what follows from it, and its row as it is then."""
        reader = self._reader
        if not (reader.wire.understands(message) and is_for(message.headers, reader.name)):
            return
        key, failure = self._key(message)
        row, value = self._row(key, step)
        if row.has_applied(message.offset):
            return  # the row was stored, the position was not
        raised: dict[bytes, bytes] = {}
        try:
            if has_seen(message, row.fences, raised):
                step.fenced += 1
            elif failure is not None:
                raise failure
            else:
                value = self._answer(message, key, value, step)
        except PermanentError as error:
            step.rejected[message.offset] = error
            step.outgoing.append(dead_letter(message, error, reader.name))
            raised[note(message.offset)] = REJECTED  # so that a replay of it is handled, once
        step.rows[key] = row.after(message.offset, raised)
        step.values[key] = value

    def _key(self, message: Message) -> tuple[bytes, PermanentError | None]:
        """Whose row a message is for: its entity's, or what its own key says when it can't be read, and why not."""
        try:
            self._reader.wire.decode(message)
            return self._reader.key_of(message), None
        except PermanentError as error:
            return message.key or b"", error

    def _answer(self, message: Message, key: bytes, value: Any, step: Step) -> Any:  # noqa: ANN401  the service's own
        """Have the heart answer; the state that it leaves. Raises PermanentError, and nothing has changed then."""
        reader = self._reader
        span = reader.tracing.process(message) if "traceparent" in message.headers else None
        if span is not None:
            message.traceparent = write_traceparent(span.get_span_context())
            step.spans.append(span)
        state = RowState(key, value)
        events = tuple(reader.handler(message, state))
        step.handled += 1
        step.outgoing += [
            self._outputs.record(event, message, sequence(message.offset, index), index)
            for index, event in enumerate(events)
        ]
        return state.value

    def _row(self, key: bytes, step: Step) -> tuple[Row, Any]:
        """A row and its decoded state, as of this step."""
        if (row := step.rows.get(key)) is not None:
            return row, step.values[key]
        if (known := self._cache.get(key)) is not None:
            return known
        content = self._load(key)
        row = NO_ROW if content is None else decode_row(content)
        value = None if row.state is None else self._reader.codec.decode(row.state)
        return row, value
