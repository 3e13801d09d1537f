"""Which signature some rows give: the vocabularies and classes that a model fitted on them knows."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.signature import BINARY_CLASSES, Encoding, Matrix, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FitJob, OneClassError
from millrace_training.adapters.fitting.rows import Labels, Rows

MOST_CATEGORIES = {Encoding.ORDINAL: 255, Encoding.ONE_HOT: 50}  # 255: a histogram tree's bins
FEWEST_OCCURRENCES = (
    2  # rarer texts count as unknown, so that the model learns what to do with those
)
_SMOOTHING = 10.0  # rows of the overall mean that each category's mean starts with


def signature_of(job: FitJob, rows: Rows, encoding: Encoding) -> Signature:
    """What a model fitted on these rows eats and answers. Raises OneClassError when there is only one class."""
    regresses = job.label_kind is LabelKind.REGRESSION
    return Signature(
        pipeline=job.pipeline,
        pipeline_version=job.pipeline_version,
        numbers=job.numbers,
        categories=job.categories,
        vocabularies=tuple(
            _vocabulary(rows.categories[:, place], rows.labels, job.label_kind, encoding)
            for place in range(len(job.categories))
        ),
        encoding=encoding,
        label_kind=job.label_kind,
        classes=classes_of(job, rows),
        quantiles=job.options.quantiles if regresses else (),
        interval=job.options.interval if regresses else None,
    )


def classes_of(job: FitJob, rows: Rows) -> tuple[str, ...]:
    """The classes that the rows hold. Raises OneClassError when there is only one."""
    if job.label_kind is LabelKind.REGRESSION:
        return ()
    classes = tuple(sorted(set(rows.labels.tolist())))
    if len(classes) < 2:
        raise OneClassError(
            f"{job.pipeline}: all {len(rows)} training rows have the label {classes[0]!r}; wait for another one"
        )
    return BINARY_CLASSES if job.label_kind is LabelKind.BINARY else classes


def encoded(signature: Signature, rows: Rows) -> Matrix:
    return signature.encode(rows.numbers, rows.categories.tolist())


def targets(labels: Labels, classes: tuple[str, ...], kind: LabelKind) -> NDArray[np.float64]:
    """Labels as numbers: of a class its place in `classes`, -1 for one that is not there."""
    if kind is not LabelKind.MULTICLASS:
        return labels.astype(np.float64)
    places = {text: float(place) for place, text in enumerate(classes)}
    return np.array([places.get(text, -1.0) for text in labels], dtype=np.float64)


def _vocabulary(
    texts: NDArray[np.object_], labels: Labels, kind: LabelKind, encoding: Encoding
) -> tuple[str, ...]:
    """The most frequent texts. Ordinal ones by their smoothed mean label, so that one split can part low from high
    (Micci-Barreca 2001); of classes, which have no mean, by frequency. One-hot ones by name."""
    counts = Counter(texts.tolist())
    frequent = sorted(counts, key=lambda text: (-counts[text], text))[: MOST_CATEGORIES[encoding]]
    kept = [text for text in frequent if counts[text] >= FEWEST_OCCURRENCES]
    if encoding is Encoding.ONE_HOT:
        return tuple(sorted(kept))
    if kind is LabelKind.MULTICLASS:
        return tuple(kept)
    overall = float(np.mean(labels))
    sums = dict.fromkeys(kept, overall * _SMOOTHING)
    for text, label in zip(texts.tolist(), labels.tolist(), strict=True):
        if text in sums:
            sums[text] += label
    return tuple(sorted(kept, key=lambda text: (sums[text] / (counts[text] + _SMOOTHING), text)))
