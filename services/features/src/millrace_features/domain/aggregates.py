"""From the values in a window to one number. The values are not missing; what has no answer is missing (NaN).

Sums are exact before they are rounded once (`math.fsum`), so that no order of the same values changes a single bit.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from millrace_kernel.pipeline import AggregateFunction

NAN = math.nan
Aggregate = Callable[[Sequence[float]], float]


def number_of(values: Sequence[float]) -> float:
    return float(len(values))


def total(values: Sequence[float]) -> float:
    if not values:
        return NAN
    try:
        exact = math.fsum(values)
    except (OverflowError, ValueError):  # beyond what a double holds; infinities that cancel
        return NAN
    return exact if math.isfinite(exact) else NAN


def mean(values: Sequence[float]) -> float:
    return total(values) / len(values) if values else NAN


def smallest(values: Sequence[float]) -> float:
    return min(values) + 0.0 if values else NAN  # + 0.0: of 0.0 and -0.0 the order would decide


def largest(values: Sequence[float]) -> float:
    return max(values) + 0.0 if values else NAN


def deviation(values: Sequence[float]) -> float:
    """The sample's standard deviation: missing for fewer than two values."""
    count = len(values)
    if count < 2:
        return NAN
    if min(values) == max(values):
        return 0.0  # exactly, although their mean may be rounded
    middle = mean(values)
    apart = [value - middle for value in values]
    rest = total(apart)  # not quite 0: the mean is rounded
    squares = total([difference * difference for difference in apart]) - rest * rest / count
    return math.sqrt(squares / (count - 1)) if squares >= 0 else NAN


def last(values: Sequence[float]) -> float:
    return values[-1] if values else NAN


AGGREGATES: Mapping[AggregateFunction, Aggregate] = {
    AggregateFunction.COUNT: number_of,
    AggregateFunction.SUM: total,
    AggregateFunction.MEAN: mean,
    AggregateFunction.MIN: smallest,
    AggregateFunction.MAX: largest,
    AggregateFunction.STD: deviation,
    AggregateFunction.LAST: last,
}
