"""What a model's answers rest on, measured on its holdout.

Everything is a function of the job: the rows looked at are spread evenly over the holdout and the shufflings are seeded.
The work is bounded by cells, not by a clock, so that the same job makes the same card on a busy machine.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Artifact, read_artifact
from millrace_artifacts.errors import ArtifactError
from millrace_artifacts.explain import Explained, load_explainer
from millrace_artifacts.scorer import Scorer, Scores, load_measured
from millrace_artifacts.signature import Signature
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.cards.job import CardJob, Curve, Facts, FeatureFacts, SliceFacts
from millrace_training.adapters.fitting.job import for_models
from millrace_training.adapters.fitting.measuring.measure import Losses, metrics_of, row_losses
from millrace_training.adapters.fitting.reading.rows import Rows, read_rows, split_rows

_CELLS = 100_000  # that are scored at most for the importance of all columns together
_SHUFFLINGS = 3
_MOST_ROWS, _FEWEST_ROWS, _SHAP_ROWS, _CURVE_ROWS = 1_000, 50, 100, 100
_MOST_CURVES, _CURVE_POINTS = 6, 12
_MOST_SLICED, _MOST_VALUES = 8, 8  # columns, and values of each: the most frequent
_LOSSES = {LabelKind.REGRESSION: "mae", LabelKind.TEXT: "1 - rouge_l"}
_FEWEST_OF_SLICE = 10  # rows; of fewer a metric says nothing


def facts_of(job: CardJob) -> Facts:
    """Raises ArtifactError, FitError."""
    artifact = read_artifact(job.result.artifact)
    scorer = load_measured(artifact)
    signature = scorer.signature
    fit = for_models(job.fit)
    rows = split_rows(read_rows(fit), fit, job.result.holdout_rows).holdout.columns(
        [fit.numbers.index(name) for name in signature.numbers],
        [fit.categories.index(name) for name in signature.categories],
    )
    width = len(signature.numbers) + len(signature.categories)
    most = _CELLS // (_SHUFFLINGS * max(1, width))
    some = _spread(rows, min(_MOST_ROWS, max(_FEWEST_ROWS, most)))
    explained, problem = _explained(artifact, _spread(some, _SHAP_ROWS))
    features = _features(scorer, some, explained, job.fit.seed)
    usual, answer = _usual(signature, rows)
    return Facts(
        features=features,
        curves=tuple(
            _curve(scorer, _spread(rows, _CURVE_ROWS), feature.name, usual)
            for feature in _with_values(signature, features)[:_MOST_CURVES]
        ),
        slices=tuple(_slices(scorer, rows, job.fit.options.text_names)),
        loss=_LOSSES.get(signature.label_kind, "log_loss"),
        answer=answer,
        shap_space=explained.space.value if explained else "",
        shap_rows=len(explained.contributions) if explained else 0,
        rows=len(some),
        notes=((problem,) if problem else ()) + _told_of_texts(signature),
    )


def _told_of_texts(signature: Signature) -> tuple[str, ...]:
    names = ", ".join(text.name for text in signature.texts)
    return (f"{names}: free text, so without a curve and without slices",) if names else ()


def _with_values(
    signature: Signature, features: tuple[FeatureFacts, ...]
) -> tuple[FeatureFacts, ...]:
    """All but free texts, which have no values to draw a curve over; answers in words make no curve at all."""
    if signature.label_kind is LabelKind.TEXT:
        return ()
    texts = {text.name for text in signature.texts}
    return tuple(feature for feature in features if feature.name not in texts)


def _spread(rows: Rows, most: int) -> Rows:
    """Some of the rows, evenly over all of them."""
    if len(rows) <= most:
        return rows
    places = np.linspace(0, len(rows) - 1, most).astype(np.int64)
    return rows.chosen(places)


def _explained(artifact: Artifact, rows: Rows) -> tuple[Explained | None, str]:
    """SHAP values of the model that answers. A kind of model that has none is no failure."""
    try:
        explainer = load_explainer(artifact)
        signature = explainer.signature
        if (signature.numbers, signature.categories) != _columns_of_measured(artifact):
            return None, "no SHAP values: what answers and what was measured have other columns"
        return explainer.explain(rows.numbers, rows.categories.tolist()), ""
    except ArtifactError as error:
        return None, f"no SHAP values: {error}"


def _columns_of_measured(artifact: Artifact) -> tuple[tuple[str, ...], tuple[str, ...]]:
    signature = (artifact.measured or artifact.model).signature
    return signature.numbers, signature.categories


def _features(
    scorer: Scorer, rows: Rows, explained: Explained | None, seed: int
) -> tuple[FeatureFacts, ...]:
    """Permutation importance: Breiman, Random Forests, 2001; Fisher, Rudin and Dominici, 2019."""
    signature, random = scorer.signature, np.random.default_rng(seed)
    before = float(np.mean(_losses(scorer, rows)))
    shap = None if explained is None else np.abs(explained.contributions).mean(axis=0).sum(axis=1)
    found = []
    for place, name in enumerate((*signature.numbers, *signature.categories)):
        rises = [
            float(np.mean(_losses(scorer, _shuffled(rows, place, random)))) - before
            for _ in range(_SHUFFLINGS)
        ]
        value = None if shap is None else float(shap[place])
        found.append(FeatureFacts(name, value, float(np.mean(rises)), float(np.std(rises))))
    return tuple(sorted(found, key=lambda each: (-each.importance, -(each.shap or 0.0), each.name)))


def _shuffled(rows: Rows, place: int, random: np.random.Generator) -> Rows:
    order = random.permutation(len(rows))
    count = rows.numbers.shape[1]
    if place < count:
        numbers = rows.numbers.copy()
        numbers[:, place] = numbers[order, place]
        return replace(rows, numbers=numbers)
    categories = rows.categories.copy()
    categories[:, place - count] = categories[order, place - count]
    return replace(rows, categories=categories)


def _answers(scorer: Scorer, rows: Rows) -> Scores:
    return scorer.score(rows.numbers, rows.categories.tolist())


def _losses(scorer: Scorer, rows: Rows) -> Losses:
    signature = scorer.signature
    scores = _answers(scorer, rows)
    return row_losses(signature.label_kind, signature.classes, rows.labels, scores)


def _usual(signature: Signature, rows: Rows) -> tuple[int, str]:
    """Which output the curves show, and what it is called: of several classes the most frequent."""
    match signature.label_kind:
        case LabelKind.BINARY:
            return 1, "probability of 1"
        case LabelKind.MULTICLASS:
            counts = Counter(label for label in rows.labels.tolist() if label in signature.classes)
            label = min(
                counts, key=lambda each: (-counts[each], each), default=signature.classes[0]
            )
            return signature.classes.index(label), f"probability of {label}"
        case _:
            return 0, "answer"


def _curve(scorer: Scorer, rows: Rows, name: str, output: int) -> Curve:
    """Friedman, Greedy function approximation: a gradient boosting machine, 2001, section 8.2."""
    signature = scorer.signature
    if name in signature.numbers:
        place = signature.numbers.index(name)
        values = _grid(rows.numbers[:, place])
        changed = (_with_number(rows, place, value) for value in values)
        return Curve(name, values, _means(scorer, changed, output))
    place = signature.categories.index(name)
    texts = _frequent(rows.categories[:, place], _CURVE_POINTS)
    renamed = (_with_text(rows, place, text) for text in texts)
    return Curve(name, texts, _means(scorer, renamed, output))


def _means(scorer: Scorer, variants: Iterator[Rows], output: int) -> tuple[float, ...]:
    scored = (_answers(scorer, rows) for rows in variants)
    return tuple(
        float(np.mean(s.values if s.probabilities is None else s.probabilities[:, output]))
        for s in scored
    )


def _grid(column: NDArray[np.float64]) -> tuple[float, ...]:
    """Values between the fifth and the ninety-fifth hundredth: beyond, the model has seen too little."""
    known = column[np.isfinite(column)]
    if not len(known):
        return ()
    points = np.quantile(known, np.linspace(0.05, 0.95, _CURVE_POINTS))
    return tuple(float(value) for value in np.unique(points))


def _with_number(rows: Rows, place: int, value: float) -> Rows:
    numbers = rows.numbers.copy()
    numbers[:, place] = value
    return replace(rows, numbers=numbers)


def _with_text(rows: Rows, place: int, text: str) -> Rows:
    categories = rows.categories.copy()
    categories[:, place] = text
    return replace(rows, categories=categories)


def _frequent(column: NDArray[np.object_], most: int) -> tuple[str, ...]:
    counts = Counter(column.tolist())
    return tuple(sorted(counts, key=lambda text: (-counts[text], text))[:most])


def _slices(scorer: Scorer, rows: Rows, texts: frozenset[str]) -> Iterator[SliceFacts]:
    """The whole holdout, parted by each category column but free texts: first by those that the model is not given."""
    signature, scores = scorer.signature, _answers(scorer, rows)
    columns = {name: each for name, each in rows.apart.items() if each.dtype != np.float64}
    columns |= {name: rows.categories[:, at] for at, name in enumerate(signature.categories)}
    parting = [name for name in columns if name not in texts][:_MOST_SLICED]
    for name, column in ((name, columns[name]) for name in parting):
        for text in _frequent(column, _MOST_VALUES):
            chosen = column == text
            count = int(np.count_nonzero(chosen))
            if count >= _FEWEST_OF_SLICE:
                part = None if scores.probabilities is None else scores.probabilities[chosen]
                metrics = metrics_of(
                    signature.label_kind,
                    signature.classes,
                    rows.labels[chosen],
                    Scores(scores.values[chosen], part),
                )
                yield SliceFacts(name, text, count, metrics)
