"""An answer while it waits for the stream: what is kept of it, about what that takes in memory, and its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from millrace_bus.outputs import Outputs
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.time import Instant
from millrace_serving.adapters.backlog import Entry
from millrace_serving.adapters.row_log import HeaderWriter, LoggedRow, RowForm
from millrace_serving.application.ports import RowLog
from millrace_serving.domain.events import PredictionMade
from millrace_telemetry.tracing import NO_TRACING

_OBJECT_BYTES = 600  # a prediction, its vector and its answer, without what they hold
_ROW_BYTES = 400  # the same for a single row
_NUMBER_BYTES = 32  # a float, and the reference to it
_TEXT_BYTES = 64  # a short string's head, and the reference to it


@dataclass(slots=True)
class Made:
    """A prediction as the general way makes it."""

    prediction: PredictionMade
    size: int


def made(prediction: PredictionMade) -> Made:
    """With about what it takes in memory."""
    vector = prediction.vector
    numbers = len(vector.numbers) + len(prediction.answer.probabilities)
    size = _OBJECT_BYTES + _NUMBER_BYTES * numbers + _bytes_of_texts(vector.categories)
    size += len(prediction.answer.text)
    return Made(prediction, size)


class Recorder:
    """Writes entries out, all from one source."""

    def __init__(self, source: str, wire: WireTable) -> None:
        self._outputs = Outputs(source, wire, NO_TRACING)
        self._headers = HeaderWriter(source)

    def record(self, entry: Entry, number: int) -> Outgoing:
        """The number-th since this start, which is its sequence. A request is its own cause."""
        if isinstance(entry, LoggedRow):
            return entry.record(number, self._headers)
        assert isinstance(entry, Made)
        vector = entry.prediction.vector
        cause = Cause(vector.event_id, vector.event_time, vector.event_id)
        return self._outputs.record(entry.prediction, cause, sequence(number, 0), 0)


class Taker(Protocol):
    """Whoever takes entries over."""

    @property
    def has_room(self) -> bool:
        """For a single row."""

    def take(self, entry: Entry) -> None:
        """There is room for it."""


class TakenRows(RowLog):
    """One champion's answers to single rows become entries."""

    def __init__(self, taker: Taker, form: RowForm) -> None:
        self._taker = taker
        self._form = form

    @property
    @override
    def has_room(self) -> bool:
        return self._taker.has_room

    @override
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
        size = _ROW_BYTES + len(numbers) + _NUMBER_BYTES * len(probabilities)
        if categories:
            size += _bytes_of_texts(categories)
        self._taker.take(
            LoggedRow(
                self._form,
                event_id,
                at,
                numbers,
                categories,
                value,
                class_label,
                probabilities,
                size,
            )
        )


def _bytes_of_texts(texts: Sequence[str]) -> int:
    return sum(map(len, texts)) + _TEXT_BYTES * len(texts)
