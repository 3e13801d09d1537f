"""Whether one row of answers is really better than another, or only on these events."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from millrace_backtest.answering import Answers
from millrace_backtest.backtest import Backtest, Outcome
from millrace_backtest.scoring import gain, measured

_RESAMPLES = 50


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the policy's metric is better than a baseline's (negative: worse), and that difference's standard error."""

    by: float
    noise: float


def lead(done: Backtest, outcome: Outcome, baseline: str) -> Lead:
    """Of the policy over a baseline. The noise is that of a bootstrap over whole windows (Künsch 1989): neighbouring events err together."""
    first, borders = done.windows.start, done.windows.borders
    kind = done.recording.pipeline.label.kind
    scored = done.truths != "" if kind.is_text else np.isfinite(done.truths)
    windows = [
        np.flatnonzero(scored[start - first : stop - first]) + start - first
        for start, stop in pairwise(borders)
    ]
    both = (outcome.answers, outcome.baselines[baseline].answers)
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(windows), size=(_RESAMPLES, len(windows)))
    differences = [
        _difference(done, outcome.metric, both, np.concatenate([windows[each] for each in drawn]))
        for drawn in draws
    ]
    by = _difference(done, outcome.metric, both, np.concatenate(windows))
    return Lead(by, float(np.nanstd(differences)))


def _difference(
    done: Backtest, metric: str, both: tuple[Answers, Answers], events: Answers
) -> float:
    kind, truths = done.recording.pipeline.label.kind, done.truths[events]
    ours, theirs = (measured(kind, metric, answers[events], truths) for answers in both)
    return float("nan") if ours is None or theirs is None else gain(metric, ours, theirs)
