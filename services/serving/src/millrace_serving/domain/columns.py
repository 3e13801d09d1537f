"""Columns by name: how a vector of one pipeline version becomes the input of a model made for another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millrace_kernel.pipeline import LabelKind, Pipeline

MISSING_NUMBER = float("nan")
MISSING_CATEGORY = ""

Numbers = NDArray[np.float64]
Categories = Sequence[tuple[str, ...]]  # one tuple per row


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of a vector's columns, in order. `texts` are those of the categories that are free text, and may be long."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    texts: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def of(cls, pipeline: Pipeline) -> "Columns":
        return cls(
            numbers=tuple(feature.name for feature in pipeline.numbers),
            categories=tuple(feature.name for feature in pipeline.categories),
            texts=frozenset(pipeline.texts),
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives. `classes` are in the order of its probabilities; empty unless multiclass. A regression may
    say more than the value: its `quantiles` (levels, growing), and an `interval` that holds so large a share of the truths."""

    columns: Columns
    kind: LabelKind
    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    interval: float | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of the same columns, side by side, as a model takes them: `numbers` is [rows, columns]."""

    columns: Columns
    numbers: Numbers
    categories: Categories

    def __len__(self) -> int:
        return len(self.categories)


class Vector(Protocol):
    @property
    def numbers(self) -> tuple[float, ...]: ...

    @property
    def categories(self) -> tuple[str, ...]: ...


def rows_of(columns: Columns, vectors: Sequence[Vector]) -> Rows:
    """Stand the vectors side by side. Their widths fit: see `width_problem`."""
    numbers = np.array([vector.numbers for vector in vectors], dtype=np.float64)
    return Rows(
        columns,
        numbers.reshape(len(vectors), len(columns.numbers)),
        [vector.categories for vector in vectors],
    )


def width_problem(
    columns: Columns, numbers: Sequence[float], categories: Sequence[str]
) -> str | None:
    """Why a vector isn't what its pipeline version says; None when it is."""
    if len(numbers) == len(columns.numbers) and len(categories) == len(columns.categories):
        return None
    for given, names, what in (
        (numbers, columns.numbers, "numbers"),
        (categories, columns.categories, "categories"),
    ):
        if len(given) != len(names):
            return f"the vector has {len(given)} {what}, its pipeline version has {len(names)}: {', '.join(names)}"
    return None


def aligned(rows: Rows, wanted: Columns) -> Rows:
    """The same rows under other columns, by name: what isn't there is missing, what isn't wanted is left out."""
    if rows.columns == wanted:
        return rows
    return Rows(wanted, _numbers(rows, wanted.numbers), _categories(rows, wanted.categories))


def _numbers(rows: Rows, wanted: tuple[str, ...]) -> Numbers:
    result = np.full((len(rows), len(wanted)), MISSING_NUMBER)
    have = {name: index for index, name in enumerate(rows.columns.numbers)}
    present = [index for index, name in enumerate(wanted) if name in have]
    result[:, present] = rows.numbers[:, [have[wanted[index]] for index in present]]
    return result


def _categories(rows: Rows, wanted: tuple[str, ...]) -> Categories:
    have = {name: index for index, name in enumerate(rows.columns.categories)}
    sources = [have.get(name, -1) for name in wanted]
    # the missing text stands behind the last column, where -1 finds it
    return [
        tuple((*row, MISSING_CATEGORY)[source] for source in sources) for row in rows.categories
    ]
