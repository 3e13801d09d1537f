"""A dataset's rows as arrays, in the order in which they happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
LARGEST_LABEL = float(np.finfo(np.float32).max)  # one beyond would fail the fit of most kinds
_COLUMNS = ("event_id", "event_time_us", "numbers", "categories", "label")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`event_times` int64 [rows] microseconds, `numbers` float64 [rows, numbers], `categories` str objects [rows, categories].

    `apart` are the columns that no model is given (see `for_models`), by name: float64 or str objects [rows].
    """

    event_times: NDArray[np.int64]
    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    labels: Labels
    apart: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> "Rows":
        return self.chosen(slice(start, stop))

    def chosen(self, places: NDArray[Any] | slice) -> "Rows":
        """Those at some places, or where a mask of all rows holds."""
        return Rows(
            self.event_times[places],
            self.numbers[places],
            self.categories[places],
            self.labels[places],
            {name: column[places] for name, column in self.apart.items()},
        )

    def columns(self, numbers: list[int], categories: list[int]) -> "Rows":
        """Only some columns, by place."""
        return replace(
            self, numbers=self.numbers[:, numbers], categories=self.categories[:, categories]
        )


@dataclass(frozen=True, slots=True)
class Split:
    """`older` is all that is older than `holdout`, up to the job's `train_on_last` rows, and `train` what was known of it when
    the holdout began; `both` is `older` and the holdout together."""

    older: Rows
    train: Rows
    holdout: Rows
    both: Rows
    notes: tuple[str, ...]


def read_rows(job: FitJob) -> Rows:
    """The labelled rows by event time, ties by event id, so that the file's order does not matter.

    Rows without a usable label are left out. Raises DatasetError, TooFewRowsError.
    """
    table = _read(job.dataset)
    rows, usable = rows_of(table, job)
    order = np.lexsort((table.column("event_id").to_numpy().astype(str), rows.event_times))
    order = order[usable[order]]
    if len(order) < FEWEST_ROWS:
        raise TooFewRowsError(
            f"{job.pipeline}: {len(order)} rows with a label; at least {FEWEST_ROWS} are needed, wait for more labels"
        )
    return rows.chosen(order)


def rows_of(table: pa.Table, job: FitJob) -> tuple[Rows, NDArray[np.bool_]]:
    """A dataset's rows in the table's order, and which of them can be learnt from. Raises DatasetError."""
    labels, usable = _labels(table.column("label"), job.label_kind)
    names, texts = job.held or (job.numbers, job.categories)
    numbers = _lists(table.column("numbers"), len(names), "numbers").astype(np.float64)
    categories = _lists(table.column("categories"), len(texts), "categories").astype(object)
    rows = Rows(table.column("event_time_us").to_numpy(), numbers, categories, labels)
    if job.held is None:
        return rows, usable
    columns = dict(zip(names, numbers.T, strict=True)) | dict(zip(texts, categories.T, strict=True))
    apart = {name: columns[name] for name in columns if name not in job.numbers + job.categories}
    kept = rows.columns([*map(names.index, job.numbers)], [*map(texts.index, job.categories)])
    return replace(kept, apart=apart), usable


def split_rows(rows: Rows, job: FitJob, held_out: int = 0) -> Split:
    """The newest rows to measure on, the ones before them to learn from: never the other way round.

    The holdout is at most a fifth of the rows, so that a first model has something to learn from. What is measured has learnt
    only labels that were known when the holdout began (the job's `label_delay_us`), as what ships learns only those known by
    then; where nearly none were, all that is older is learnt, and a note says so. `held_out`: only so many of the newest are held
    out, and those that the job would hold out before them are learnt.
    """
    holdout = min(job.holdout_last, len(rows) // 5)
    start = max(0, len(rows) - holdout - job.train_on_last)
    border = len(rows) - (held_out or holdout)
    short = holdout < job.holdout_last
    notes = (
        (f"holdout of {holdout} rows instead of {job.holdout_last}: there are {len(rows)} in all",)
        if short
        else ()
    )
    older, newest = rows.part(start, border), rows.part(border, len(rows))
    train, gap = known_before(older, newest, job)
    return Split(older, train, newest, rows.part(start, len(rows)), notes + gap)


def known_before(older: Rows, newer: Rows, job: FitJob) -> tuple[Rows, tuple[str, ...]]:
    """Those of the older rows whose label was known when the newer began, and what is to be said of the others."""
    known = known_by(older, int(newer.event_times[0]), job.label_delay_us)
    late = len(older) - len(known)
    if not late:
        return older, ()
    classifies = job.label_kind is not LabelKind.REGRESSION
    if len(known) < FEWEST_ROWS or (classifies and len(set(known.labels.tolist())) < 2):
        return older, (
            f"measured by a model that learnt labels not known yet when the holdout began (label.delay), {late} of {len(older)}: "
            "of those known then nothing could be learnt. Its metrics are too good",
        )
    return known, (
        f"measured by a model without the {late} rows before the holdout whose labels were not known when it began "
        "(label.delay)" + ("; what ships has learnt them" if job.refit else ""),
    )


def known_by(rows: Rows, at_us: int, delay_us: int) -> Rows:
    """Those whose label is known by then: what came later could not have been learnt when the first answer was due."""
    if delay_us <= 0:
        return rows
    # rows stand in the order of their event times
    count = int(np.searchsorted(rows.event_times, at_us - delay_us, side="right"))
    return rows.part(0, count)


def _read(path: Path) -> pa.Table:
    try:
        # one file for one process: what finds many files and reads them with threads costs twice as much
        table = pq.ParquetFile(path).read(list(_COLUMNS), use_threads=False)
        return table.select(_COLUMNS).combine_chunks()
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
    if kind.is_text:
        texts = np.array([text or "" for text in column.to_pylist()], dtype=object)
        return texts, texts != ""
    numbers = column.to_numpy().astype(np.float64)
    usable = np.abs(numbers) <= LARGEST_LABEL
    if kind is LabelKind.BINARY and not np.isin(numbers[usable], (0.0, 1.0)).all():
        raise DatasetError("a binary label is neither 0 nor 1")
    return numbers, usable
