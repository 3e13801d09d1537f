"""What a champion was shown and answered, counted in the bins of its reference profile, in tumbling windows."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import VectorKind
from millrace_kernel.profile import ColumnProfile, ReferenceProfile, bin_of
from millrace_kernel.time import EARLIEST, LATEST, Instant
from millrace_monitoring.domain.events import PredictionMade
from millrace_monitoring.domain.pipelines import Shape


@dataclass(frozen=True, slots=True)
class Reference:
    """A champion and the distributions it was trained on. Build it with `reference_of`.

    `columns` are the vector's, and the prediction last. A window counts all bins in one row: column i's begin at
    `offsets[i]`, and after its last bin comes its count of missing values.
    """

    version: ModelVersionNumber
    epoch: int
    profile: ReferenceProfile
    columns: tuple[ColumnProfile, ...]
    offsets: tuple[int, ...]
    shape: Shape
    width: int  # of a window's row


def reference_of(version: ModelVersionNumber, epoch: int, profile: ReferenceProfile) -> Reference:
    columns = (*profile.columns, profile.prediction)
    ends = [0]
    for column in columns:
        ends.append(ends[-1] + len(column.shares) + 1)
    shape = Shape(
        numbers=tuple(c.name for c in profile.columns if c.kind is VectorKind.NUMBER),
        categories=tuple(c.name for c in profile.columns if c.kind is not VectorKind.NUMBER),
    )
    return Reference(version, epoch, profile, columns, tuple(ends[:-1]), shape, ends[-1])


@dataclass(frozen=True, slots=True)
class InputWindow:
    """Counts of the bins, and sums of the numbers: of the vector's, then of the prediction."""

    events: int = 0
    first: Instant = LATEST  # event times of the earliest and the latest event
    last: Instant = EARLIEST
    counts: tuple[int, ...] = ()
    sums: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """One column of a full window."""

    column: ColumnProfile
    counts: tuple[int, ...]  # by bin, of the values that were there
    missing: int
    mean: float  # of the numbers that were there; 0 for a category, or when there is none


@dataclass(frozen=True, slots=True)
class InputReport:
    """A full window."""

    events: int
    first: Instant
    last: Instant
    columns: tuple[ColumnCounts, ...]  # as the reference's: the prediction last


def update(
    window: InputWindow, reference: Reference, shape: Shape, prediction: PredictionMade, size: int
) -> tuple[InputWindow, InputReport | None]:
    """Count one vector of this shape and its answer; a window of `size` gives its report and the next one begins.

    Raises PermanentError for a vector that is not of its shape.
    """
    numbers, categories = _aligned(reference, shape, prediction)
    counts = list(window.counts or (0,) * reference.width)
    sums = list(window.sums or (0.0,) * (len(reference.shape.numbers) + 1))
    _count_numbers(reference, numbers, counts, sums)
    for at, text in enumerate(categories, len(numbers)):
        counts[_slot(reference, at, text)] += 1
    answer = math.nan if prediction.answer is None else prediction.answer
    counts[_slot(reference, len(reference.columns) - 1, answer)] += 1
    if not isinstance(answer, str) and math.isfinite(answer):
        sums[-1] += answer
    grown = InputWindow(
        events=window.events + 1,
        first=min(window.first, prediction.event_time),
        last=max(window.last, prediction.event_time),
        counts=tuple(counts),
        sums=tuple(sums),
    )
    return (InputWindow(), _report(reference, grown)) if grown.events >= size else (grown, None)


def _aligned(
    reference: Reference, shape: Shape, prediction: PredictionMade
) -> tuple[Sequence[float], Sequence[str]]:
    """The values under the champion's columns, as it scored them: a newer file's vector may have others, or lack some."""
    numbers, categories = prediction.numbers, prediction.categories
    if (len(numbers), len(categories)) != (len(shape.numbers), len(shape.categories)):
        raise PermanentError(
            f"{prediction.pipeline}: event {prediction.event_id} was scored on {len(numbers)} numbers and "
            f"{len(categories)} categories; version {prediction.pipeline_version} of the file has "
            f"{len(shape.numbers)} and {len(shape.categories)}"
        )
    if shape == reference.shape:
        return numbers, categories
    by_name = dict(zip(shape.numbers, numbers, strict=True))
    texts_by_name = dict(zip(shape.categories, categories, strict=True))
    return (
        [by_name.get(name, math.nan) for name in reference.shape.numbers],
        [texts_by_name.get(name, "") for name in reference.shape.categories],
    )


def _count_numbers(
    reference: Reference, numbers: Sequence[float], counts: list[int], sums: list[float]
) -> None:
    """The hot path of a window: `bin_of` written out."""
    for at, (column, offset, number) in enumerate(
        zip(reference.columns, reference.offsets, numbers, strict=False)
    ):
        if math.isfinite(number):
            counts[offset + bisect_left(column.edges, number)] += 1
            sums[at] += number
        else:
            counts[offset + len(column.edges) + 1] += 1


def _slot(reference: Reference, at: int, value: float | str) -> int:
    column = reference.columns[at]
    found = bin_of(column, value)
    return reference.offsets[at] + (len(column.shares) if found is None else found)


def _report(reference: Reference, window: InputWindow) -> InputReport:
    columns = []
    for at, (column, offset) in enumerate(zip(reference.columns, reference.offsets, strict=True)):
        missing_at = offset + len(column.shares)
        missing = window.counts[missing_at]
        there = window.events - missing
        total = window.sums[at] if at < len(reference.shape.numbers) else 0.0
        if at == len(reference.columns) - 1:
            total = window.sums[-1]
        columns.append(
            ColumnCounts(
                column=column,
                counts=window.counts[offset:missing_at],
                missing=missing,
                mean=total / there if there and math.isfinite(total) else 0.0,
            )
        )
    return InputReport(window.events, window.first, window.last, tuple(columns))
