"""An always-valid confidence sequence for the mean of bounded differences: look as often as you like, stop when you like.

Empirical-Bernstein, by a mixture of exponential supermartingales: Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2), 2021, theorem 4 (the variance is measured
against a prediction made before each difference is seen), with a discrete mixture in the place of a boundary in closed form
(section 3.5; Robbins 1970 is the origin of mixtures). Nothing is assumed of the differences but their bounds: they may
depend on each other and drift, and what is covered is the mean of their conditional expectations so far. That paired score
differences of two forecasters are to be compared so is Choe and Ramdas, "Comparing sequential forecasters", Operations
Research 72(4), 2024.
"""

import math
from dataclasses import dataclass

_WIDTH = 2.0  # of [-1, 1]: how far a difference may be from its prediction
_BETS = tuple(0.9 / _WIDTH * 0.6**power for power in range(16))  # each below 1 / _WIDTH
# psi_E of the paper, for each bet: what a unit of variance costs it
_COSTS = tuple((-math.log1p(-_WIDTH * bet) - _WIDTH * bet) / _WIDTH**2 for bet in _BETS)
_LOG_WEIGHT = -math.log(len(_BETS))
_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is kept of the differences, each in [-1, 1]."""

    count: int = 0
    total: float = 0.0
    variance: float = 0.0  # sum of squared distances from what was predicted before

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


NO_EVIDENCE = Evidence()


def counted(evidence: Evidence, difference: float) -> Evidence:
    """Raises ValueError for a difference outside of [-1, 1]: nothing would be proven any more."""
    if not -1.0 <= difference <= 1.0:
        raise ValueError(f"a difference of {difference} is not within [-1, 1]; scale and clip it")
    predicted = evidence.total / (evidence.count + 1)  # as if a 0 had been seen first
    return Evidence(
        evidence.count + 1,
        evidence.total + difference,
        evidence.variance + (difference - predicted) ** 2,
    )


def is_above_zero(evidence: Evidence, confidence: float) -> bool:
    """Whether the lower bound is above 0, without computing it."""
    return _log_wealth(evidence.total, evidence.variance) >= _log_needed(confidence)


def is_below_zero(evidence: Evidence, confidence: float) -> bool:
    """Whether the upper bound is below 0, without computing it."""
    return _log_wealth(-evidence.total, evidence.variance) >= _log_needed(confidence)


def bounds(evidence: Evidence, confidence: float) -> tuple[float, float]:
    """Of the mean, within [-1, 1]. Both hold at all times together with this probability at least."""
    if not evidence.count:
        return -1.0, 1.0
    margin = _boundary(evidence.variance, _log_needed(confidence)) / evidence.count
    return max(evidence.mean - margin, -1.0), min(evidence.mean + margin, 1.0)


def _log_needed(confidence: float) -> float:
    """Ville's inequality, half of the risk for each side."""
    return math.log(2.0 / (1.0 - confidence))


def _log_wealth(total: float, variance: float) -> float:
    """What the mixture of bets on a positive mean has become of 1."""
    logs = [bet * total - cost * variance for bet, cost in zip(_BETS, _COSTS, strict=True)]
    most = max(logs)
    return most + _LOG_WEIGHT + math.log(sum(math.exp(one - most) for one in logs))


def _boundary(variance: float, needed: float) -> float:
    """The total at which the mixture has earned what is needed: between the best single bet's, and that with all its weight."""
    lines = list(zip(_BETS, _COSTS, strict=True))
    low = min((needed + cost * variance) / bet for bet, cost in lines)
    high = min((needed - _LOG_WEIGHT + cost * variance) / bet for bet, cost in lines)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _log_wealth(middle, variance) < needed:
            low = middle
        else:
            high = middle
    return high
