"""The population stability index: how far a window's shares of the bins are from the reference's.

`PSI = sum over bins of (w - r) * ln(w / r)`, Siddiqi, "Credit Risk Scorecards", 2006; the symmetrised Kullback-Leibler
divergence of the two. By the usual rule 0.1 is a small change and 0.25 a large one, but that rule forgets how small a
window is: for an unchanged stream `PSI / (1/n_window + 1/n_reference)` is about chi-square distributed with bins - 1
degrees of freedom (Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk
Model Validation 14(4), 2020), so its mean is about `(bins - 1) * (1/n_window + 1/n_reference)`.

What is reported is the raw statistic. It counts as drift when it is above the pipeline's threshold AND above the level
that an unchanged stream of independent events stays below with the confidence asked for. Events that hang together
(one day's weather) vary more than independent ones: a window must be long against what they hang on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

_EMPTY = (
    0.5  # an empty bin counts as half an event, or one event in it would make the index infinite
)


@dataclass(frozen=True, slots=True)
class Stability:
    statistic: float  # the raw index
    noise: float  # what chance alone stays below, with the confidence asked for

    def threshold(self, wanted: float) -> float:
        """What the statistic is held against, when a change from `wanted` on matters."""
        return max(wanted, self.noise)


def stability(
    reference: Sequence[float], reference_events: int, counts: Sequence[int], confidence: float
) -> Stability:
    """Compare a window's counts of the bins with the reference's shares of them.

    `reference` are shares that sum to 1, of `reference_events` events. A bin that is empty on both sides counts for
    nothing; an empty one on one side counts as half an event there. Nothing on either side: no change, whatever.
    """
    events = sum(counts)
    if not events or not reference_events:
        return Stability(0.0, math.inf)
    terms = [
        _term(share or _EMPTY / reference_events, (count or _EMPTY) / events)
        for share, count in zip(reference, counts, strict=True)
        if share or count
    ]
    scale = 1.0 / events + 1.0 / reference_events
    return Stability(math.fsum(terms), scale * chi_square_quantile(confidence, len(terms) - 1))


def _term(reference: float, window: float) -> float:
    return (window - reference) * math.log(window / reference)


@lru_cache(maxsize=1024)
def chi_square_quantile(confidence: float, degrees: int) -> float:
    """The value that a chi-square variable stays below with this probability; 0 for no degrees of freedom.

    Wilson and Hilferty, "The Distribution of Chi-Square", PNAS 17, 1931: its cube root is nearly normal. In the upper
    tail within 1 % from 3 degrees of freedom on, and a few per cent low at 1 and 2.
    """
    if degrees < 1:
        return 0.0
    z = NormalDist().inv_cdf(confidence)
    ninth = 2.0 / (9.0 * degrees)
    return float(degrees * max(1.0 - ninth + z * math.sqrt(ninth), 0.0) ** 3)
