"""What serving needs of the world. Each port has two implementations, the real one and a fake, which pass one suite of tests."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from millrace_serving.domain.answers import Scores
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import Rows, Signature
from millrace_serving.domain.events import PredictionMade


class LoadedModel(Protocol):
    """One version in memory. Scoring is safe from several threads at once."""

    @property
    def signature(self) -> Signature: ...

    @property
    def platform(self) -> str:
        """What runs it, as the Open Inference Protocol writes it: project_format."""

    def score(self, rows: Rows) -> Scores:
        """Score rows that stand under the signature's columns."""


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
