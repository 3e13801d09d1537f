"""The population stability index: how far a window's shares of the bins are from the reference's.

`PSI = sum over bins of (w - r) * ln(w / r)`, Siddiqi, "Credit Risk Scorecards", 2006; the symmetrised Kullback-Leibler
divergence of the two. By the usual rule 0.1 is a small change and 0.25 a large one, but that rule forgets how small a
window is: for an unchanged stream `PSI / (1/n_window + 1/n_reference)` is about chi-square distributed with bins - 1
degrees of freedom (Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk
Model Validation 14(4), 2020), so its mean is about `(bins - 1) * (1/n_window + 1/n_reference)`.

What is reported is the raw statistic. It counts as drift when it is above the pipeline's threshold AND when the change
is more than chance: when the smoothed statistic is above the level that an unchanged stream of independent events stays
below with the confidence asked for. Smoothed means that half an event is added to every bin on both sides (Jeffreys'
prior): at ten events a bin the raw logarithms have a tail up to nine times as heavy as chi-square's, the smoothed at
most three times, and on one rare bin less than nominal (simulated for windows of 50 to 500 and 2 to 50 bins).

Events that hang together (one day's weather) vary more than independent ones: a window must be long against what
they hang on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

_HALF = 0.5  # events


@dataclass(frozen=True, slots=True)
class Stability:
    statistic: float  # the raw index
    smoothed: float  # with half an event more in every bin
    noise: float  # what chance alone keeps the smoothed index below, with the confidence asked for

    def threshold(self, wanted: float) -> float:
        """What the statistic is held against, when a change from `wanted` on matters."""
        return max(wanted, self.noise)

    def is_beyond(self, wanted: float) -> bool:
        return self.statistic > wanted and self.smoothed > self.noise


def stability(
    reference: Sequence[float], reference_events: int, counts: Sequence[int], confidence: float
) -> Stability:
    """Compare a window's counts of the bins with the reference's shares of them.

    `reference` are shares that sum to 1, of `reference_events` events. A bin that is empty on both sides counts for
    nothing; one that is empty on one side counts there as half an event, or the raw index would be infinite. Nothing at
    all on one side: no change.
    """
    events = sum(counts)
    if not events or not reference_events:
        return Stability(0.0, 0.0, 0.0)
    bins = [
        (share * reference_events, count)
        for share, count in zip(reference, counts, strict=True)
        if share or count
    ]
    expected_total = reference_events + _HALF * len(bins)
    total = events + _HALF * len(bins)
    raw, smoothed = 0.0, 0.0
    for expected, count in bins:
        raw += _term((expected or _HALF) / reference_events, (count or _HALF) / events)
        smoothed += _term((expected + _HALF) / expected_total, (count + _HALF) / total)
    scale = 1.0 / events + 1.0 / reference_events
    return Stability(raw, smoothed, scale * chi_square_quantile(confidence, len(bins) - 1))


def _term(reference: float, window: float) -> float:
    return (window - reference) * math.log(window / reference)


@lru_cache(maxsize=1024)
def chi_square_quantile(confidence: float, degrees: int) -> float:
    """The value that a chi-square variable stays below with this probability; 0 for no degrees of freedom.

    Wilson and Hilferty, "The Distribution of Chi-Square", PNAS 17, 1931: its cube root is nearly normal. Far out in the
    upper tail (0.9999) it is 7 % high at 1 degree of freedom, 2 % at 5 and 1 % at 10: on the cautious side.
    """
    if degrees < 1:
        return 0.0
    z = NormalDist().inv_cdf(confidence)
    ninth = 2.0 / (9.0 * degrees)
    return float(degrees * max(1.0 - ninth + z * math.sqrt(ninth), 0.0) ** 3)
