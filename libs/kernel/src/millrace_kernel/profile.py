"""The reference profile: the distributions a model version was trained on, which live traffic is compared with.

Training builds one, `ModelPromoted.reference_profile` carries it as canonical JSON, monitoring reads it. Bins of a number are
quantile bins, as is usual for the population stability index (Siddiqi, "Credit Risk Scorecards", 2006).
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from operator import mul
from typing import Any

from millrace_kernel.errors import PermanentError
from millrace_kernel.pipeline import VectorKind

PREDICTION = "prediction"  # the name of the column that holds the answers
_SHARES_SUM_TOLERANCE = (
    1e-6  # shares are quotients of counts: their rounding errors are far smaller
)


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """How one column was distributed over the reference rows. Raises ValueError for one that contradicts itself.

    A number has `len(edges) + 1` bins; `edges` ascend, and a value equal to an edge belongs to the bin below it.
    A category has a bin for each of `names` (ascending) and a last one for every other text. A free text is profiled as the
    number of its characters. `shares` are the bins' shares of
    the values that were there, so they sum to 1, or to 0 if every value was missing. `missing` is a share of all `rows`.
    `mean` and `std` (population) are over the numbers that were there; 0 for a category, a text or a column that was all missing.
    """

    name: str
    kind: VectorKind
    shares: tuple[float, ...]
    missing: float
    rows: int
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 0.0

    def __post_init__(self) -> None:
        problem = _problem_of(self)
        if problem:
            raise ValueError(f"profile of column {self.name!r}: {problem}")

    @property
    def other(self) -> float:
        """Of a category: the share of the texts that have no bin of their own. Of a number: 0."""
        return self.shares[-1] if self.kind is VectorKind.CATEGORY else 0.0


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """What a model version saw and how well it did. Raises ValueError for one that contradicts itself.

    `columns` are the vector's: first the numbers, then categories and free texts, each in the vector's order. `prediction` is over the
    holdout: a number for regression (the value) and binary (the positive class's probability), a category for multiclass.
    `metrics` are the holdout's and hold `primary_metric`. `rows` counts the rows that the model was trained on.
    """

    columns: tuple[ColumnProfile, ...]
    prediction: ColumnProfile
    metrics: Mapping[str, float]
    primary_metric: str
    rows: int

    def __post_init__(self) -> None:
        unfit = [name for name, value in self.metrics.items() if not math.isfinite(value)]
        if unfit:
            raise ValueError(
                f"reference profile: the metrics {unfit} are not finite; leave out what cannot be computed"
            )
        if self.primary_metric not in self.metrics:
            raise ValueError(
                f"reference profile: no metric {self.primary_metric!r} among {sorted(self.metrics)}"
            )
        kinds = [column.kind for column in self.columns]
        if VectorKind.NUMBER in kinds[kinds.count(VectorKind.NUMBER) :]:
            raise ValueError(
                "reference profile: a number stands behind a category; a vector carries its numbers first"
            )
        if self.rows < 0:
            raise ValueError(f"reference profile: {self.rows} rows")


def bin_of(column: ColumnProfile, value: float | str) -> int | None:
    """The index in `column.shares` of a value's bin; None for a missing one (NaN, an infinity, the empty text)."""
    if isinstance(value, str):
        if not value:
            return None
        if column.kind is VectorKind.TEXT:
            return bisect_left(column.edges, len(value))
        at = bisect_left(column.names, value)
        return at if at < len(column.names) and column.names[at] == value else len(column.names)
    return bisect_left(column.edges, value) if math.isfinite(value) else None


def number_column(name: str, values: Sequence[float], bins: int = 10) -> ColumnProfile:
    """Profile numbers in at most about `bins` bins of equal share; NaN and infinities count as missing.

    At most `bins` distinct values get a bin each. Of more, each edge is a quantile; a value so frequent that two quantiles
    meet in it is cut off from its lower neighbours too, so that a change of its share alone is seen.
    """
    there = sorted(filter(math.isfinite, map(float, values)))
    edges = _edges(there, bins)
    below = [0, *(bisect_right(there, edge) for edge in edges), len(there)]
    counts = [after - before for before, after in pairwise(below)]
    mean, std = _mean_and_std(there)
    return ColumnProfile(
        name=name,
        kind=VectorKind.NUMBER,
        shares=_shares(counts),
        missing=_missing(len(there), len(values)),
        rows=len(values),
        edges=edges,
        mean=mean,
        std=std,
    )


def category_column(name: str, values: Sequence[str], most: int = 50) -> ColumnProfile:
    """Profile texts: the `most` frequent get a bin each (ties by name), all others share one; "" counts as missing."""
    counter = Counter(value for value in values if value)
    ranked = sorted(counter, key=lambda text: (-counter[text], text))
    names = tuple(sorted(ranked[:most]))
    counts = [*(counter[text] for text in names), sum(counter[text] for text in ranked[most:])]
    return ColumnProfile(
        name=name,
        kind=VectorKind.CATEGORY,
        shares=_shares(counts),
        missing=_missing(counter.total(), len(values)),
        rows=len(values),
        names=names,
    )


def text_column(name: str, values: Sequence[str], bins: int = 10) -> ColumnProfile:
    """Profile free texts by how many characters they have, as `number_column` does numbers; "" counts as missing."""
    lengths = number_column(name, [len(value) or math.nan for value in values], bins)
    return replace(lengths, kind=VectorKind.TEXT, mean=0.0, std=0.0)


def to_json(profile: ReferenceProfile) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. Equal profiles give equal bytes; NaN cannot occur."""
    document = {
        "columns": [asdict(column) for column in profile.columns],
        "prediction": asdict(profile.prediction),
        "metrics": dict(profile.metrics),
        "primary_metric": profile.primary_metric,
        "rows": profile.rows,
    }
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def profile_from_json(content: bytes) -> ReferenceProfile:
    """Read what `to_json` wrote. Raises PermanentError that says what does not fit."""
    try:
        document = json.loads(content)
        return ReferenceProfile(
            columns=tuple(_column(column) for column in document["columns"]),
            prediction=_column(document["prediction"]),
            metrics={str(name): float(value) for name, value in document["metrics"].items()},
            primary_metric=document["primary_metric"],
            rows=int(document["rows"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PermanentError(
            f"not a reference profile: {error!r}; write it with millrace_kernel.profile.to_json"
        ) from error


def _column(document: Mapping[str, Any]) -> ColumnProfile:
    return ColumnProfile(
        name=document["name"],
        kind=VectorKind(document["kind"]),
        shares=tuple(float(share) for share in document["shares"]),
        missing=float(document["missing"]),
        rows=int(document["rows"]),
        edges=tuple(float(edge) for edge in document["edges"]),
        names=tuple(document["names"]),
        mean=float(document["mean"]),
        std=float(document["std"]),
    )


def _edges(ascending: Sequence[float], bins: int) -> tuple[float, ...]:
    """Inner edges. A constant gets a bin to itself, with an empty one on either side for whatever it is not."""
    distinct = list(dict.fromkeys(ascending))
    if not distinct:
        return ()
    if len(distinct) == 1:
        return (math.nextafter(distinct[0], -math.inf), distinct[0])
    if len(distinct) <= bins:
        return tuple(distinct[:-1])
    quantiles = Counter(ascending[math.ceil(k * len(ascending) / bins) - 1] for k in range(1, bins))
    below_frequent = {
        distinct[bisect_left(distinct, value) - 1]
        for value, times in quantiles.items()
        if times > 1 and value > distinct[0]
    }
    return tuple(sorted((set(quantiles) | below_frequent) - {distinct[-1]}))


def _mean_and_std(ascending: Sequence[float]) -> tuple[float, float]:
    """Relative to the largest magnitude, so that no finite value overflows when squared or summed."""
    scale = max(-ascending[0], ascending[-1]) if ascending else 0.0
    if not scale:
        return 0.0, 0.0
    parts = [value / scale for value in ascending]
    mean = math.fsum(parts) / len(parts)
    away = [part - mean for part in parts]
    variance = math.fsum(map(mul, away, away)) / len(parts)
    return mean * scale, math.sqrt(variance) * scale


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(count / total if total else 0.0 for count in counts)


def _missing(there: int, rows: int) -> float:
    return (rows - there) / rows if rows else 0.0


def _problem_of(column: ColumnProfile) -> str | None:
    bins = len(column.names if column.kind is VectorKind.CATEGORY else column.edges) + 1
    numbers = (*column.shares, *column.edges, column.missing, column.mean, column.std)
    if not all(math.isfinite(number) for number in numbers):
        return "a number in it is not finite"
    if len(column.shares) != bins:
        return f"{len(column.shares)} shares for {bins} bins"
    if any(share < 0 for share in column.shares) or not 0 <= column.missing <= 1 or column.rows < 0:
        return "a share is not between 0 and 1, or it has fewer than no rows"
    if min(abs(math.fsum(column.shares) - total) for total in (0.0, 1.0)) > _SHARES_SUM_TOLERANCE:
        return f"the shares sum to {math.fsum(column.shares)}"
    if not (_ascends(column.edges) and _ascends(column.names)):
        return "edges or names do not ascend"
    return None


def _ascends(items: Sequence[Any]) -> bool:
    return all(low < high for low, high in pairwise(items))
