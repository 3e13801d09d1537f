"""What serving needs of the world. Each port has two implementations, the real one and a fake, which pass one suite of tests."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from millrace_kernel.time import Instant
from millrace_serving.domain.answers import Scores
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import Numbers, Rows, Signature
from millrace_serving.domain.events import PredictionMade


class LoadedModel(Protocol):
    """One version in memory. Scoring is safe from several threads at once."""

    @property
    def signature(self) -> Signature: ...

    @property
    def platform(self) -> str:
        """What runs it, as the Open Inference Protocol writes it: project_format."""

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""

    def score(self, rows: Rows) -> Scores:
        """Score rows that stand under the signature's columns."""


class RowScorer(Protocol):
    """A model for single rows: for one thread, one call at a time."""

    def score(self, numbers: Numbers, categories: Sequence[str]) -> list[float]:
        """What the model's library answers to one row under the signature's columns, float64 [numbers]: [answers]."""


@runtime_checkable
class RowModel(Protocol):
    """A loaded model that may have a faster way for single rows."""

    def for_rows(self) -> RowScorer | None: ...


class Engine(Protocol):
    """Brings artifacts into memory."""

    def load(self, champion: Champion) -> LoadedModel:
        """Fetch, check and load; the model given back has already answered once. Blocks: call it in a thread.

        Raises PermanentError for an artifact that will never load, TransientError when the object store is away.
        """


class Publisher(Protocol):
    """Writes the answers given over HTTP to the stream, behind the answers' back."""

    def expecting(self) -> AbstractContextManager[None]:
        """Around a request, so that the publisher doesn't stop between the question and `publish`."""

    async def publish(self, predictions: Sequence[PredictionMade]) -> None:
        """Take them over. Waits only while there is no room: nothing is dropped, so whoever asks too fast waits.

        Raises TransientError when it has stopped.
        """


class RowLog(Protocol):
    """Where one deployment's answers to single rows go: the publisher, with all that they have in common written already."""

    @property
    def has_room(self) -> bool:
        """Whether `add` may be called now."""

    def add(
        self,
        event_id: str,
        at: Instant,
        numbers: bytes,
        categories: Sequence[str],
        value: float | None,
        class_label: str,
        probabilities: Sequence[float],
    ) -> None:
        """Take one over, as `Publisher.publish` would its PredictionMade. `numbers`: float64, little-endian.

        Only when there is room.
        """


class RowLogs(Protocol):
    """Makes a log for a deployment."""

    def row_log(self, champion: Champion) -> RowLog: ...
