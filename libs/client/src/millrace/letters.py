"""Dead letters as a person sees them: what died, where, why, and what a replay of it is.

A letter's own headers tell it (Kafka Connect's; Spring's where those are missing), whoever wrote it.
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from millrace_bus.dead_letters import CONNECT, CUT, GROUP_PREFIX, SPRING
from millrace_bus.fence import REPLAY_FOR, REPLAY_OF
from millrace_contracts.catalogue import RAW_TOPIC_PREFIX, catalogue, dead_letters_of
from millrace_contracts.message import Outgoing, Record
from millrace_kernel.time import EARLIEST, LATEST, MILLISECOND, Instant, rfc3339

MARK = "millrace-replayed"  # of the record that says so: partition/offset of the letter that was replayed
_OURS = (CONNECT, SPRING, REPLAY_FOR, REPLAY_OF)
_SUFFIX = dead_letters_of("")

Place = tuple[int, int]  # partition and offset


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the message that died stands."""

    topic: str
    partition: int
    offset: int
    recorded_at: Instant | None

    @property
    def text(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `value` is left out where only the list is wanted; `size` is what it has."""

    topic: str
    partition: int
    offset: int
    at: Instant
    key: bytes | None
    value: bytes | None
    size: int
    headers: tuple[tuple[str, bytes | None], ...]
    replayed_at: Instant | None = None

    @property
    def place(self) -> str:
        return f"{self.partition}/{self.offset}"

    @property
    def by_name(self) -> Mapping[str, bytes]:
        """The headers; of one that stands twice the last counts, as for every reader."""
        return {name: value or b"" for name, value in self.headers}

    def text(self, header: str) -> str:
        return self.by_name.get(header, b"").decode("utf-8", "replace")

    @property
    def service(self) -> str:
        """Who could not handle it; "" for one that no service of Millrace wrote."""
        group = self.text(SPRING + "original-consumer-group") or self.text(
            CONNECT + "connector.name"
        )
        return group.removeprefix(GROUP_PREFIX) if group.startswith(GROUP_PREFIX) else ""

    @property
    def error(self) -> str:
        return self.text(CONNECT + "exception.class.name") or self.text(SPRING + "exception-fqcn")

    @property
    def reason(self) -> str:
        return self.text(CONNECT + "exception.message") or self.text(SPRING + "exception-message")

    @property
    def origin(self) -> Origin | None:
        return _connects(self) or _springs(self)

    @property
    def pipeline(self) -> str | None:
        """The pipeline that it is about, as its key or its topic says; None when neither does."""
        origin = self.origin
        if origin is None:
            return None
        if origin.topic in catalogue().topics:
            return (self.key or b"").decode("utf-8", "replace").partition("/")[0] or None
        if origin.topic.startswith(RAW_TOPIC_PREFIX):
            return origin.topic.removeprefix(RAW_TOPIC_PREFIX)
        return None

    @property
    def without_value(self) -> "Letter":
        return replace(self, value=None)


def is_dead_letter_topic(topic: str) -> bool:
    return topic.endswith(_SUFFIX)


def dead_letter_topic(name: str) -> str:
    """The topic of the dead letters of a topic, named by itself or by the topic."""
    return name if is_dead_letter_topic(name) else dead_letters_of(name)


def letter_of(record: Record) -> Letter:
    return Letter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=Instant(record.timestamp * MILLISECOND),
        key=record.key,
        value=record.value,
        size=len(record.value or b""),
        headers=tuple(record.headers),
    )


def marked_by(record: Record) -> Place | None:
    """The letter that a record says to have been replayed; None when it is a letter itself."""
    said = dict(record.headers).get(MARK)
    if not said or record.value is not None:
        return None
    partition, _, offset = said.decode("ascii", "replace").partition("/")
    return (int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else None


def mark(letter: Letter) -> Outgoing:
    """Says that a letter has been replayed. It is no letter: it has no value."""
    return Outgoing(letter.topic, letter.key, None, [(MARK, letter.place.encode())])


def obstacle(letter: Letter) -> str | None:
    """Why a letter can't be replayed, and what to do instead; None when it can."""
    origin = letter.origin
    if origin is None:
        return "its headers do not say where it came from: send its value again by hand"
    if not letter.service:
        return "no service of Millrace rejected it: whoever wrote it has to replay it"
    if CUT in letter.by_name:
        size = letter.text(CUT)
        return f"its value of {size} bytes was cut: the whole of it stands at {origin.text}, as long as that is kept"
    topic = catalogue().topics.get(origin.topic)
    if topic is not None and topic.cleanup == "compact":
        return (
            f"{origin.topic} keeps only the newest of each key, which an old one sent again would replace: "
            f"apply the pipeline again instead"
        )
    return None


def replay_of(letter: Letter) -> Outgoing:
    """The message again: same key, bytes, headers; and who is to handle it, once, in place of which one.

    Id and time are told where they had followed from the record's place and time, which are others now.
    """
    origin = letter.origin
    if origin is None:
        raise ValueError(obstacle(letter))
    headers = [(name, value) for name, value in letter.headers if not name.startswith(_OURS)]
    by_name = letter.by_name
    if origin.topic in catalogue().topics:
        if not by_name.get("ce_id"):
            headers.append(("ce_id", origin.text.encode()))
        headers += _time(by_name, "ce_recordedtime", origin.recorded_at)
    else:
        headers += _time(by_name, "recordedtime", origin.recorded_at)
    headers += [(REPLAY_FOR, letter.service.encode()), (REPLAY_OF, origin.text.encode())]
    # a header that was null stays null, which the broker takes and the type of others' records leaves out
    return Outgoing(origin.topic, letter.key, letter.value, headers)  # type: ignore[arg-type]


def _time(
    headers: Mapping[str, bytes], name: str, at: Instant | None
) -> list[tuple[str, bytes | None]]:
    said = headers.get("ce_recordedtime") or headers.get("recordedtime")
    if said or at is None or not EARLIEST <= at <= LATEST:
        return []
    return [(name, rfc3339(at).encode())]


def _connects(letter: Letter) -> Origin | None:
    topic = letter.text(CONNECT + "topic")
    numbers = [letter.text(CONNECT + name) for name in ("partition", "offset")]
    if not topic or not all(number.isdecimal() for number in numbers):
        return None
    return Origin(topic, int(numbers[0]), int(numbers[1]), _recorded(letter))


def _springs(letter: Letter) -> Origin | None:
    topic, headers = letter.text(SPRING + "original-topic"), letter.by_name
    if not topic:
        return None
    try:
        [partition] = struct.unpack(">i", headers.get(SPRING + "original-partition", b""))
        [offset] = struct.unpack(">q", headers.get(SPRING + "original-offset", b""))
    except struct.error:
        return None
    return Origin(topic, partition, offset, _recorded(letter))


def _recorded(letter: Letter) -> Instant | None:
    with suppress(struct.error):
        [stamp] = struct.unpack(">q", letter.by_name.get(SPRING + "original-timestamp", b""))
        return Instant(stamp * MILLISECOND)
    return None
