"""The wire table: a service's one mapping between its own events and the bytes on the bus."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from typing_extensions import override

from millrace_contracts.catalogue import Trace, catalogue
from millrace_contracts.cloudevents import Header
from millrace_contracts.message import Message
from millrace_kernel.errors import PermanentError
from millrace_kernel.time import EARLIEST, LATEST, Instant

Decode = Callable[[Message], Any]

LONGEST_ID = 1_024  # bytes; ingestion lets through 255 characters
LONGEST_TIME = 64
_LONGEST_REASON = 2_000
# what decoders raise for bytes that are not what they should be: too deep a JSON and too large a time among them
_BROKEN = (DecodeError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Encoder:
    """How one kind of domain event is written.

    `key` and `encode` take the event. `id` (if any) gives the CloudEvents id, else the bus derives one from the cause.
    `time` (if any) gives when it happened, else the cause's recorded time counts.
    """

    event: type
    type: str
    key: Callable[[Any], str]
    encode: Callable[[Any], bytes]
    id: Callable[[Any], str] | None = None
    time: Callable[[Any], Instant] | None = None
    topic: str = field(init=False)
    trace: Trace = field(init=False)
    type_header: Header = field(init=False)

    def __post_init__(self) -> None:
        topic = catalogue().topic_of(self.type)
        object.__setattr__(self, "topic", topic.name)
        object.__setattr__(self, "trace", topic.events[self.type].trace)
        object.__setattr__(self, "type_header", ("ce_type", self.type.encode()))


class WireError(PermanentError):
    """The bytes are not what their type says."""


class WireTable:
    """Decoders by CloudEvents type, encoders by domain class."""

    is_counted = True  # the writers keep Millrace's `sequence`, so readers fence by it

    def __init__(self, decoders: Mapping[str, Decode], encoders: Iterable[Encoder] = ()) -> None:
        self._decoders = {type_name.encode(): decode for type_name, decode in decoders.items()}
        self._encoders = {encoder.event: encoder for encoder in encoders}
        self.encoder_of = self._encoders.get
        """The encoder of a class, or None: for whoever asks for each event."""
        for type_name in decoders:
            catalogue().topic_of(type_name)  # a typo must fail at start, not be skipped for ever

    @property
    def decoded_types(self) -> frozenset[str]:
        return frozenset(type_name.decode() for type_name in self._decoders)

    @property
    def encoded_types(self) -> frozenset[str]:
        return frozenset(encoder.type for encoder in self._encoders.values())

    def understands(self, message: Message) -> bool:
        return message.headers.get("ce_type", b"") in self._decoders

    def decode(self, message: Message) -> bool:
        """Fill in `message.event`. False: the type is not for this service. Raises WireError for broken bytes."""
        decode = self._decoders.get(message.headers.get("ce_type", b""))
        if decode is None:
            return False
        _refuse_overlong(message)
        try:
            message.event = decode(message)
        except _BROKEN as error:
            said = str(error)[:_LONGEST_REASON]
            raise WireError(f"{message!r} does not decode as {message.type}: {said}") from error
        return True

    def encoder(self, event: object) -> Encoder:
        encoder = self._encoders.get(type(event))
        if encoder is None:
            known = ", ".join(sorted(kind.__name__ for kind in self._encoders))
            raise TypeError(f"the wire table writes no {type(event).__name__}; it writes {known}")
        return encoder


class RawWire(WireTable):
    """Every record is for this service, whatever it is: what a reader of users' own topics uses. It decodes by itself.

    A user's `ce_sequence` means what the user wants ("10" may follow "9"), so nothing is fenced by it.
    """

    is_counted = False

    def __init__(self, encoders: Iterable[Encoder]) -> None:
        super().__init__({}, encoders)

    @override
    def understands(self, message: Message) -> bool:
        return True

    @override
    def decode(self, message: Message) -> bool:
        return True


def instant_of(microseconds: int) -> Instant:
    """A time from the wire. Raises ValueError for what is on no calendar: it could be written into no header again."""
    if not EARLIEST <= microseconds <= LATEST:
        raise ValueError(
            f"{microseconds} us since 1970 is on no calendar; times go from 1970 to the end of 9999"
        )
    return Instant(microseconds)


def refuse_untimely(message: Message) -> None:
    """Raise WireError when a message does not say when it was recorded, for readers who need to know."""
    try:
        instant_of(message.recorded_at)
    except (ValueError, OverflowError) as error:
        said = str(error)[:_LONGEST_REASON]
        raise WireError(f"{message!r}: ce_recordedtime is no time: {said}") from error


def _refuse_overlong(message: Message) -> None:
    """The headers that go into everything that is made of a message: they must not make it too large to be sent."""
    recorded = message.headers.get("ce_recordedtime")
    if (
        len(message.id_bytes) > LONGEST_ID
        or len(message.correlation_bytes) > LONGEST_ID
        or (recorded is not None and len(recorded) > LONGEST_TIME)
    ):
        raise WireError(
            f"{message!r}: ce_id and ce_correlationid may have {LONGEST_ID} bytes, ce_recordedtime {LONGEST_TIME}; "
            f"they have {len(message.id_bytes)}, {len(message.correlation_bytes)} and {len(recorded or b'')}"
        )
