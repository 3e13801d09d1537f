"""Which columns a model does not need: those whose shuffling does its answers no harm (Breiman 2001: permutation importance)."""

from dataclasses import replace

import numpy as np

from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.measure import row_losses
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.searching.recipes import FittedRecipe

_ROWS = 1_000  # the newest; with more, a column's worth is hardly known better
_SHUFFLES = 2


def not_needed(job: FitJob, model: FittedRecipe, rows: Rows) -> tuple[str, ...]:
    """The columns without which the mean loss over `rows`, which the model has not learnt, is no higher. Deterministic."""
    rows = rows.part(max(0, len(rows) - _ROWS), len(rows))
    whole = _loss(job, model, rows)
    generator = np.random.default_rng(job.seed)
    orders = [generator.permutation(len(rows)) for _ in range(_SHUFFLES)]
    useless = []
    for place, name in enumerate(job.numbers):
        found = []
        for order in orders:
            numbers = rows.numbers.copy()
            numbers[:, place] = numbers[order, place]
            found.append(_loss(job, model, replace(rows, numbers=numbers)))
        if np.mean(found) <= whole:
            useless.append(name)
    for place, name in enumerate(job.categories):
        found = []
        for order in orders:
            categories = rows.categories.copy()
            categories[:, place] = categories[order, place]
            found.append(_loss(job, model, replace(rows, categories=categories)))
        if np.mean(found) <= whole:
            useless.append(name)
    return tuple(useless)


def _loss(job: FitJob, model: FittedRecipe, rows: Rows) -> float:
    losses = row_losses(job.label_kind, model.signature.classes, rows.labels, model.scores(rows))
    return float(np.mean(losses))
