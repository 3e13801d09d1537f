"""How often the comparison with the champion decides wrongly, over simulated losses whose truth is known.

The effect is told in standard errors of the mean difference of the losses, the true ones: of 4 or more is "truly better"
here, of -1 or less "truly worse"; nearer to 0 so many rows can't tell (docs/gates.md has the figures).

The losses' differences are as correlated as those of two versions of one model on bikes or electricity prices. More rows, more
shapes and more repeats: `python -m benchmarks.gates`.
"""

import numpy as np
import pytest
from scipy.signal import lfilter

from millrace_training.adapters.fitting.measuring.measure import better_probability

ROWS = 350
REPEATS = 250
SLOW, FAST, SHARE = 0.88, 0.25, 0.55
LONG_RUN = SHARE * (1 + SLOW) / (1 - SLOW) + (1 - SHARE) * (1 + FAST) / (1 - FAST)


def series(random, memory):
    raw = lfilter([1.0], [1.0, -memory], random.normal(size=ROWS + 100))
    return raw[100:] * (1 - memory**2) ** 0.5


def promoted(effect: float, confidence: float, long_run: float) -> float:
    """The share of candidates that pass."""
    random, passed = np.random.default_rng(17), 0
    for seed in range(REPEATS):
        if long_run == 1.0:
            noise = random.normal(size=ROWS)
        else:
            noise = SHARE**0.5 * series(random, SLOW) + (1 - SHARE) ** 0.5 * series(random, FAST)
        differences = noise + effect * (long_run / ROWS) ** 0.5
        passed += better_probability(np.zeros(ROWS), differences, seed) >= confidence
    return passed / REPEATS


@pytest.mark.parametrize("long_run", [1.0, LONG_RUN])
def test_a_truly_better_candidate_is_seldom_rejected(long_run):
    assert promoted(4.0, 0.95, long_run) > 0.95


@pytest.mark.parametrize("long_run", [1.0, LONG_RUN])
def test_a_truly_worse_candidate_is_hardly_ever_promoted(long_run):
    assert promoted(-1.0, 0.95, long_run) < 0.01
    assert promoted(-0.5, 0.99, long_run) < 0.01


def test_an_equal_candidate_is_promoted_about_as_often_as_the_confidence_says():
    assert promoted(0.0, 0.95, 1.0) == pytest.approx(0.05, abs=0.03)
    assert promoted(0.0, 0.95, LONG_RUN) < 0.12
