"""Which signature some rows give: the vocabularies and classes that a model fitted on them knows."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.signature import BINARY_CLASSES, Encoding, Matrix, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FitJob, OneClassError
from millrace_training.adapters.fitting.reading.rows import Labels, Rows

MOST_CATEGORIES = {Encoding.ORDINAL: 255, Encoding.ONE_HOT: 50}  # 255: a histogram tree's bins
FEWEST_OCCURRENCES = (
    2  # rarer texts count as unknown, so that the model learns what to do with those
)
# answers in words: those of so many newest rows are what a model can say, and travel with it
NEWEST_ANSWERS = 2_000
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
            ()
            if name in job.options.text_names
            else _vocabulary(rows.categories[:, place], rows.labels, job.label_kind, encoding)
            for place, name in enumerate(job.categories)
        ),
        encoding=encoding,
        label_kind=job.label_kind,
        classes=classes_of(job, rows),
        quantiles=job.options.quantiles if regresses else (),
        interval=job.options.interval if regresses else None,
        texts=job.options.texts_among(job.categories),
    )


def classes_of(job: FitJob, rows: Rows) -> tuple[str, ...]:
    """The classes that the rows hold. Raises OneClassError when there is only one."""
    if job.label_kind is LabelKind.REGRESSION:
        return ()
    labels = rows.labels[-NEWEST_ANSWERS:] if job.label_kind is LabelKind.TEXT else rows.labels
    return classes_among(job, set(labels.tolist()), len(rows))


def classes_among(job: FitJob, labels: Collection[Any], rows: int) -> tuple[str, ...]:
    """As `classes_of`, of the labels that so many rows have."""
    if job.label_kind is LabelKind.REGRESSION:
        return ()
    classes = tuple(sorted(labels))
    if len(classes) < 2:
        raise OneClassError(
            f"{job.pipeline}: all {rows} training rows have the label {classes[0]!r}; wait for another one"
        )
    return BINARY_CLASSES if job.label_kind is LabelKind.BINARY else classes


def classes_seen(job: FitJob, rows: Rows) -> tuple[str, ...]:
    """As `classes_of`, of rows that may have one label only: those of an update, or some of many."""
    if job.label_kind is LabelKind.BINARY:
        return BINARY_CLASSES
    if job.label_kind is LabelKind.MULTICLASS:
        return tuple(sorted(set(rows.labels.tolist())))
    return classes_of(job, rows)


def encoded(signature: Signature, rows: Rows) -> Matrix:
    return signature.encode(rows.numbers, rows.categories.tolist())


def blinded(rows: Rows, job: FitJob, without: tuple[str, ...]) -> Rows:
    """Rows in which some columns are missing everywhere, so that a model can learn nothing from them.

    The columns stay in the signature: who asks a model need not know what it looks at.
    """
    if not without:
        return rows
    numbers, categories = rows.numbers.copy(), rows.categories.copy()
    numbers[:, [place for place, name in enumerate(job.numbers) if name in without]] = np.nan
    categories[:, [place for place, name in enumerate(job.categories) if name in without]] = ""
    return replace(rows, numbers=numbers, categories=categories)


def targets(labels: Labels, classes: tuple[str, ...], kind: LabelKind) -> NDArray[np.float64]:
    """Labels as numbers: of a class its place in `classes`, -1 for one that is not there."""
    if not kind.is_text:
        return labels.astype(np.float64)
    places = {text: float(place) for place, text in enumerate(classes)}
    return np.array([places.get(text, -1.0) for text in labels], dtype=np.float64)


def _vocabulary(
    texts: NDArray[np.object_], labels: Labels, kind: LabelKind, encoding: Encoding
) -> tuple[str, ...]:
    counts = Counter(texts.tolist())
    if encoding is Encoding.ONE_HOT or kind is LabelKind.MULTICLASS:
        return vocabulary(counts, {}, kind, encoding)
    sums = dict.fromkeys(counts, smoothing_of(float(np.mean(labels))))
    for text, label in zip(texts.tolist(), labels.tolist(), strict=True):
        sums[text] += label
    return vocabulary(counts, sums, kind, encoding)


def smoothing_of(overall: float) -> float:
    """What the sum of each text's labels starts with, `overall` being the mean of all labels."""
    return overall * _SMOOTHING


def vocabulary(
    counts: Mapping[str, int], sums: Mapping[str, float], kind: LabelKind, encoding: Encoding
) -> tuple[str, ...]:
    """The most frequent texts. Ordinal ones by their smoothed mean label, so that one split can part low from high
    (Micci-Barreca 2001); of classes, which have no mean, by frequency. One-hot ones by name.

    `counts` says how often each text occurs, `sums` what its rows' labels and `smoothing_of` add up to.
    """
    frequent = sorted(counts, key=lambda text: (-counts[text], text))[: MOST_CATEGORIES[encoding]]
    kept = [text for text in frequent if counts[text] >= FEWEST_OCCURRENCES]
    if encoding is Encoding.ONE_HOT:
        return tuple(sorted(kept))
    if kind is LabelKind.MULTICLASS:
        return tuple(kept)
    return tuple(sorted(kept, key=lambda text: (sums[text] / (counts[text] + _SMOOTHING), text)))
