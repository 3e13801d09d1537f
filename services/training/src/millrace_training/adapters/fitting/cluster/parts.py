"""What workers do with a dataset's parts: each reads its own from the object store, and nobody else sees its rows."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace_artifacts.signature import Matrix, Signature
from millrace_artifacts.store import ObjectStore
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.cluster_plan import Stretch
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.reading.encoding import blinded, encoded, targets
from millrace_training.adapters.fitting.reading.rows import Rows, rows_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fading:
    """A row that is `half_life` rows older than the newest of `rows` counts half; None: all count the same."""

    rows: int
    half_life: float | None

    def weights(self, stretch: Stretch) -> Floats | None:
        """float64 [rows]."""
        if self.half_life is None:
            return None
        places = np.arange(stretch.place, stretch.place + stretch.rows, dtype=np.float64)
        weights: Floats = 0.5 ** ((self.rows - 1 - places) / max(1.0, self.half_life))
        return weights


@dataclass(slots=True)
class Statistics:
    """What a signature and balanced weights are made of: of the labels their sum, and of classes how much each weighs;
    of each category column how often each text occurs, and the sum of its labels."""

    rows: int = 0
    label_sum: float = 0.0
    classes: dict[Any, float] = field(default_factory=dict)
    counts: list[Counter[str]] = field(default_factory=list)
    sums: list[dict[str, float]] = field(default_factory=list)


def statistics_of(
    job: FitJob, store: str, stretch: Stretch, without: tuple[str, ...], fading: Fading
) -> Statistics:
    rows = _rows(job, store, stretch, without)
    found = Statistics(rows=len(rows))
    classifies = job.label_kind is not LabelKind.REGRESSION
    if classifies:
        weights = fading.weights(stretch)
        names, places = np.unique(rows.labels, return_inverse=True)
        sums = np.bincount(places, weights, minlength=len(names))
        found.classes = dict(zip(names.tolist(), sums.tolist(), strict=True))
    adds = job.label_kind is not LabelKind.MULTICLASS
    labels = rows.labels.astype(np.float64) if adds else np.zeros(len(rows))
    found.label_sum = float(labels.sum())
    for texts in rows.categories.T:
        names, places = np.unique(texts.astype(str), return_inverse=True)
        words = names.tolist()
        found.counts.append(Counter(dict(zip(words, np.bincount(places).tolist(), strict=True))))
        sums = np.bincount(places, labels, minlength=len(words))
        found.sums.append(dict(zip(words, sums.tolist(), strict=True)))
    return found


def combined(*parts: Statistics) -> Statistics:
    """In their order, so that the sums round the same way always."""
    total = Statistics(
        counts=[Counter() for _ in parts[0].counts], sums=[{} for _ in parts[0].sums]
    )
    for part in parts:
        total.rows += part.rows
        total.label_sum += part.label_sum
        _add(total.classes, part.classes)
        for counts, more in zip(total.counts, part.counts, strict=True):
            counts.update(more)
        for sums, further in zip(total.sums, part.sums, strict=True):
            _add(sums, further)
    return total


def trimmed(statistics: Statistics, most: int) -> Statistics:
    """Only the most frequent texts, which are all that a vocabulary can take."""
    for column, counts in enumerate(statistics.counts):
        ranked = sorted(counts, key=lambda text: (-counts[text], text))[:most]
        statistics.counts[column] = Counter({text: counts[text] for text in ranked})
        statistics.sums[column] = {text: statistics.sums[column][text] for text in ranked}
    return statistics


@dataclass(frozen=True, slots=True)
class Encoding:
    """How rows become what XGBoost eats. `balance`: of each class by its place what its rows' weights are multiplied by."""

    signature: Signature
    without: tuple[str, ...]
    fading: Fading
    balance: tuple[float, ...] = ()


def encoded_part(
    job: FitJob, store: str, stretch: Stretch, encoding: Encoding
) -> tuple[Matrix, Floats, Floats]:
    """float32 [rows, width], and float64 [rows] twice: targets, weights."""
    signature = encoding.signature
    rows = _rows(job, store, stretch, encoding.without)
    aims = targets(rows.labels, signature.classes, job.label_kind)
    weights = encoding.fading.weights(stretch)
    if weights is None:
        weights = np.ones(len(rows))
    if encoding.balance:
        weights = weights * np.array(encoding.balance)[aims.astype(np.int64)]
    return encoded(signature, rows), aims, weights


def _rows(job: FitJob, store: str, stretch: Stretch, without: tuple[str, ...]) -> Rows:
    part = stretch.part
    content = ObjectStore(store).get(part.uri, part.sha256)
    table = pq.read_table(io.BytesIO(content)).slice(stretch.start, stretch.rows)
    rows, _ = rows_of(table, job)
    return blinded(rows, job, without)


def _add(total: dict[Any, float], more: Mapping[Any, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + value
