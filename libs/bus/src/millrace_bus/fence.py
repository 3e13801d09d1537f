"""The fence: which messages of a partition count, and which have been counted already.

A source numbers what it writes; of each source only what is newer than the newest counts. A replayed dead letter counts
for the reader that rejected it, once: the reader's own note of the rejection, kept among its fences, is what admits it.
See docs/decisions/0008-replaying-dead-letters.md.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from millrace_contracts.message import Message
from millrace_kernel.errors import PermanentError

REPLAY_FOR = "millrace-replay-for"  # the reader that is to handle it; nobody else does
REPLAY_OF = "millrace-replay-of"  # topic/partition/offset of the message that it rejected

REJECTED, REPLAYED = b"0", b"1"  # what a reader notes of an offset that it rejected
_NOTES = b"millrace/rejected/"  # where it notes it: no writer's source may begin so

LONGEST_SOURCE = 400  # bytes; what the fences' table has room for
LONGEST_SEQUENCE = 64
_SEQUENCE = re.compile(rb"[0-9]+(?:\.[0-9A-Za-z-]+)*").fullmatch
_USUAL = re.compile(rb"[0-9]{16}\.[0-9]{5}").fullmatch  # as the bus writes it
_NAME = re.compile(rb"[ -~]*").fullmatch
_OFFSET_DIGITS = 16  # of a sequence that the bus writes: an offset, and the index of the output
_SLACK_DIGITS = (
    4  # a source that leaps by more than a ten-thousandth of all it can ever count is broken
)


class UncountableError(PermanentError):
    """The source or the sequence of a message can't be right; believed, it might shut out all that the source sends later."""


class Mark(NamedTuple):
    """What a message is counted by: a sequence of its source or, for a replay, this reader's note of the rejection."""

    source: bytes
    sequence: bytes
    is_replay: bool = False


def is_for(headers: Mapping[str, bytes], reader: str) -> bool:
    """Whether a reader is to look at a message at all: a replayed dead letter is for the one that rejected it."""
    addressee = headers.get(REPLAY_FOR)
    return addressee is None or addressee == reader.encode()


def has_seen(message: Message, known: Mapping[bytes, bytes], raised: dict[bytes, bytes]) -> bool:
    """Whether a message has been counted before; if not, it is now: `raised` is what the batch adds to what is `known`.

    What does not count is let through. Raises UncountableError.
    """
    mark = _mark_of(message)
    if mark is None:
        return False
    newest = raised.get(mark.source) or known.get(mark.source)
    if not _is_new(mark, newest):
        return True
    raised[mark.source] = mark.sequence
    return False


def sources_of(messages: Iterable[Message]) -> set[str]:
    """The sources whose fences are needed to count these messages."""
    marks = (_mark_of(message) for message in messages)
    return {mark.source.decode() for mark in marks if mark is not None and _is_name(mark.source)}


def note(offset: int) -> bytes:
    """Where a reader notes, among the fences of a partition, what became of an offset that it rejected."""
    return b"%s%016d" % (_NOTES, offset)


def _mark_of(message: Message) -> Mark | None:
    """What a message is counted by; None when its writer does not count."""
    headers = message.headers
    if REPLAY_OF in headers:
        return Mark(_note_of(message), REPLAYED, is_replay=True)
    sequence = headers.get("ce_sequence")
    return None if sequence is None else Mark(headers.get("ce_source") or b"", sequence)


def _note_of(message: Message) -> bytes:
    """The note of the message that this one repeats; of no rejected message if it comes from another partition."""
    place, _, offset = (message.headers[REPLAY_OF] or b"").rpartition(b"/")
    here = f"{message.topic}/{message.partition}".encode() == place
    known = here and offset.isdigit() and len(offset) <= _OFFSET_DIGITS
    return note(int(offset)) if known else _NOTES


def _is_new(mark: Mark, known: bytes | None) -> bool:
    source, sequence, is_replay = mark
    if is_replay:
        return known == REJECTED
    if known is None:
        _refuse_bad_name(source)
        _refuse_broken(sequence, known)
        return True
    if not _follows_on(sequence, known):
        _refuse_broken(sequence, known)
    return sequence > known


def _refuse_bad_name(source: bytes) -> None:
    """Once for each source: those that are known have passed."""
    if not _is_name(source) or source.startswith(_NOTES):
        said = source[:LONGEST_SEQUENCE].decode("ascii", "backslashreplace")
        raise UncountableError(
            f"ce_source {said!r} ({len(source)} bytes) can't be counted by: send at most {LONGEST_SOURCE} visible ASCII "
            f"characters that do not begin with {_NOTES.decode()}"
        )


def _is_name(source: bytes) -> bool:
    return len(source) <= LONGEST_SOURCE and _NAME(source) is not None


def _refuse_broken(sequence: bytes, known: bytes | None) -> None:
    """One absurd sequence must not shut its source out for ever: it has to look like the one before it, and be near it."""
    if len(sequence) > LONGEST_SEQUENCE or _SEQUENCE(sequence) is None:
        said = sequence[:LONGEST_SEQUENCE].decode("ascii", "backslashreplace")
        raise UncountableError(
            f"ce_sequence {said!r} is none: send digits, of fixed width, that grow along the source"
        )
    number, _, _ = sequence.partition(b".")
    before = known.partition(b".")[0] if known is not None else _first(number)
    if number[:_SLACK_DIGITS] == before[:_SLACK_DIGITS] and len(number) == len(before):
        return
    if len(number) != len(before):
        raise UncountableError(
            f"ce_sequence {sequence.decode()} is not as wide as the one before, {before.decode()}: send digits of fixed width"
        )
    if int(number) - int(before) > 10 ** (len(number) - _SLACK_DIGITS):
        raise UncountableError(
            f"ce_sequence {sequence.decode()} leaps too far from the one before, {before.decode()}: look at what writes there"
        )


def _follows_on(sequence: bytes, known: bytes) -> bool:
    """Nearly all do: as the bus writes them, and near the one before."""
    return (
        len(known) == len(sequence)
        and known[:_SLACK_DIGITS] == sequence[:_SLACK_DIGITS]
        and _USUAL(sequence) is not None
    )


def _first(number: bytes) -> bytes:
    """What a source's first sequence is compared with: nothing, or the beginning where it counts as the bus does."""
    return b"0" * len(number) if len(number) == _OFFSET_DIGITS else number
