"""What the handlers need from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace_ingestion.domain.events import Submission
from millrace_ingestion.domain.ledger import Known
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import EventId, PipelineName
from millrace_kernel.time import Instant


class Ledger(Protocol):
    """What this raw partition remembers, by event id."""

    def of(self, pipeline: PipelineName, event_id: EventId) -> Known: ...
    def put(self, pipeline: PipelineName, event_id: EventId, known: Known) -> None: ...


class ReadSubmission(Protocol):
    """Decodes one raw message: its value, its headers as Kafka will carry them, when it was recorded."""

    def __call__(
        self, value: bytes, headers: Mapping[str, bytes], recorded_at: Instant, /
    ) -> Submission:
        """Raises UnreadableError, and nothing else."""


ROW_BYTES = 1_000
"""What a row costs in memory beside its bytes, from its check to its acknowledgement."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One raw message to be appended, as any producer would send it."""

    key: str
    value: bytes
    headers: Mapping[str, bytes]


class NotAcknowledgedError(TransientError):
    """The broker has not acknowledged all rows, or not in time. Those not in `acknowledged` (their indexes, ascending)
    may be there or not: sent again, they count once.
    """

    def __init__(self, reason: str, acknowledged: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.acknowledged = tuple(acknowledged)


class RawTopics(Protocol):
    """The users' topics, as HTTP writes them."""

    async def append(self, topic: str, rows: Sequence[RawRow]) -> None:
        """Return when all rows are acknowledged by all in-sync replicas.

        Raises TransientError within a bounded time; NotAcknowledgedError when some of the rows may have been appended.
        """
