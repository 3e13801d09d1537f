"""A dataset's rows as arrays, in the order in which they happened."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import (
    FEWEST_ROWS,
    DatasetError,
    FitJob,
    TooFewRowsError,
)

Labels = NDArray[Any]  # float64 [rows]; multiclass: str objects [rows]
_COLUMNS = ("event_id", "event_time_us", "numbers", "categories", "label")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`event_times` int64 [rows] microseconds, `numbers` float64 [rows, numbers], `categories` str objects [rows, categories]."""

    event_times: NDArray[np.int64]
    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> "Rows":
        span = slice(start, stop)
        return Rows(
            self.event_times[span], self.numbers[span], self.categories[span], self.labels[span]
        )

    def columns(self, numbers: list[int], categories: list[int]) -> "Rows":
        """Only some columns, by place."""
        return replace(
            self, numbers=self.numbers[:, numbers], categories=self.categories[:, categories]
        )


@dataclass(frozen=True, slots=True)
class Split:
    """`train` is all that is older than `holdout`, up to the job's `train_on_last` rows; `both` is the two together."""

    train: Rows
    holdout: Rows
    both: Rows
    notes: tuple[str, ...]


def read_rows(job: FitJob) -> Rows:
    """The labelled rows by event time, ties by event id, so that the file's order does not matter.

    Rows without a usable label are left out. Raises DatasetError, TooFewRowsError.
    """
    table = _read(job.dataset)
    labels, usable = _labels(table.column("label"), job.label_kind)
    times = table.column("event_time_us").to_numpy()
    rows = Rows(
        event_times=times,
        numbers=_lists(table.column("numbers"), len(job.numbers), "numbers").astype(np.float64),
        categories=_lists(table.column("categories"), len(job.categories), "categories").astype(
            object
        ),
        labels=labels,
    )
    order = np.lexsort((table.column("event_id").to_numpy().astype(str), times))
    order = order[usable[order]]
    if len(order) < FEWEST_ROWS:
        raise TooFewRowsError(
            f"{job.pipeline}: {len(order)} rows with a label; at least {FEWEST_ROWS} are needed, wait for more labels"
        )
    return Rows(
        rows.event_times[order], rows.numbers[order], rows.categories[order], rows.labels[order]
    )


def split_rows(rows: Rows, job: FitJob) -> Split:
    """The newest rows to measure on, the ones before them to learn from: never the other way round.

    The holdout is at most a fifth of the rows, so that a first model has something to learn from.
    """
    holdout = min(job.holdout_last, len(rows) // 5)
    border = len(rows) - holdout
    start = max(0, border - job.train_on_last)
    short = holdout < job.holdout_last
    notes = (
        (f"holdout of {holdout} rows instead of {job.holdout_last}: there are {len(rows)} in all",)
        if short
        else ()
    )
    return Split(
        rows.part(start, border), rows.part(border, len(rows)), rows.part(start, len(rows)), notes
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(_COLUMNS)).combine_chunks()
    except (pa.ArrowInvalid, KeyError, FileNotFoundError) as error:
        raise DatasetError(
            f"{path} is not a dataset with the columns {_COLUMNS}: {error}"
        ) from error


def _lists(column: pa.ChunkedArray, width: int, name: str) -> NDArray[Any]:
    """A column of lists of one length as [rows, width]."""
    lengths = column.combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    if len(column) and not (lengths == width).all():
        raise DatasetError(
            f"the dataset's {name} are not all lists of {width}, as the pipeline's columns say"
        )
    values: NDArray[Any] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), width)


def _labels(column: pa.ChunkedArray, kind: LabelKind) -> tuple[Labels, NDArray[np.bool_]]:
    """The labels, and which of them can be learnt from. Raises DatasetError for a binary label that is neither 0 nor 1."""
    if kind is LabelKind.MULTICLASS:
        texts = np.array([text or "" for text in column.to_pylist()], dtype=object)
        return texts, texts != ""
    numbers = column.to_numpy().astype(np.float64)
    usable = np.isfinite(numbers)
    if kind is LabelKind.BINARY and not np.isin(numbers[usable], (0.0, 1.0)).all():
        raise DatasetError("a binary label is neither 0 nor 1")
    return numbers, usable
