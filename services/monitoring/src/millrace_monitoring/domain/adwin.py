"""ADWIN: a window over a stream of numbers that shrinks when its mean has changed.

Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SIAM SDM 2007: ADWIN2 with the
exponential histogram of section 4, and the cut of its equation 3.1 with the variance of the window; variances of
merged buckets after Babcock et al., "Maintaining Variance and k-Medians over Data Stream Windows", PODS 2003.

Memory and the time of one update are logarithmic in the window. Each cut is held against
`epsilon = sqrt(2/m * variance * ln(2 ln(n) / delta)) + 2/(3m) * ln(2 ln(n) / delta)`, with 1/m the sum of the reciprocal
lengths of both sides: the bound is proven for values within [0, 1]. `delta` bounds the share of checks of an unchanged
stream that find a change. The constants below are those in common use (MOA, river), and the detections equal river's.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from millrace_kernel.time import Instant

CHECK_EVERY = 32  # values between two looks for a change
BUCKETS_PER_SIZE = 5  # more of one size are merged, two into one of double size
SHORTEST_SIDE = 5  # values that a side of a cut must hold
SHORTEST_WINDOW = 10  # values before the first look


class Bucket(NamedTuple):
    """A summary of consecutive values: their sum, the sum of their squared distances from their mean, and the time
    that came with the first of them."""

    total: float
    spread: float
    since: Instant


Row = tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Adwin:
    """The window. `rows[i]` holds the buckets of 2^i values, the oldest first."""

    delta: float
    rows: tuple[Row, ...] = ((),)
    width: int = 0
    total: float = 0.0
    spread: float = 0.0  # sum of squared distances from the window's mean
    seen: int = 0  # values ever

    @property
    def mean(self) -> float:
        return self.total / self.width if self.width else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A proven change of the mean, at the last cut that proved it: `abs(after - before) > epsilon`."""

    before: float
    after: float
    epsilon: float
    since: Instant  # of the first value after the cut
    events: int  # values after the cut

    @property
    def is_increase(self) -> bool:
        return self.after > self.before


def update(adwin: Adwin, value: float, at: Instant) -> tuple[Adwin, Change | None]:
    """Take one value in; drop what is proven to be of another mean. `at` is kept to tell when a change began."""
    grown = _inserted(adwin, value, at)
    if grown.seen % CHECK_EVERY or grown.width <= SHORTEST_WINDOW:
        return grown, None
    change: Change | None = None
    while found := _proven_change(grown):
        change = found
        grown = _without_oldest(grown)
    return grown, change


def _inserted(adwin: Adwin, value: float, at: Instant) -> Adwin:
    width = adwin.width + 1
    spread = adwin.spread
    if adwin.width:
        distance = value - adwin.total / adwin.width
        spread += adwin.width * distance * distance / width
    return Adwin(
        delta=adwin.delta,
        rows=_with(adwin.rows, Bucket(value, 0.0, at)),
        width=width,
        total=adwin.total + value,
        spread=spread,
        seen=adwin.seen + 1,
    )


def _with(rows: tuple[Row, ...], bucket: Bucket) -> tuple[Row, ...]:
    """Add the newest bucket; where a row overflows, its two oldest move on as one."""
    changed: list[Row] = []
    for size, row in enumerate(rows):
        longer = (*row, bucket)
        if len(longer) <= BUCKETS_PER_SIZE:
            return (*changed, longer, *rows[size + 1 :])
        changed.append(longer[2:])
        bucket = _merged(longer[0], longer[1], 1 << size)
    return (*changed, (bucket,))


def _merged(older: Bucket, newer: Bucket, length: int) -> Bucket:
    distance = older.total / length - newer.total / length
    spread = older.spread + newer.spread + length * 0.5 * distance * distance
    return Bucket(older.total + newer.total, spread, older.since)


def _proven_change(adwin: Adwin) -> Change | None:
    """The first cut, from the oldest value on, whose sides' means differ by more than chance allows."""
    before_length, before_total = 0, 0.0
    after_length, after_total = adwin.width, adwin.total
    buckets = [
        (1 << size, bucket)
        for size in reversed(range(len(adwin.rows)))
        for bucket in adwin.rows[size]
    ]
    for (length, bucket), (_, following) in pairwise(buckets):
        before_length += length
        after_length -= length
        before_total += bucket.total
        after_total -= bucket.total
        if before_length < SHORTEST_SIDE or after_length < SHORTEST_SIDE:
            continue
        before, after = before_total / before_length, after_total / after_length
        epsilon = _epsilon(adwin, before_length, after_length)
        if abs(before - after) > epsilon:
            return Change(before, after, epsilon, following.since, after_length)
    return None


def _epsilon(adwin: Adwin, before_length: int, after_length: int) -> float:
    logarithm = math.log(2.0 * math.log(adwin.width) / adwin.delta)
    reciprocal = 1.0 / (before_length - SHORTEST_SIDE + 1.0) + 1.0 / (
        after_length - SHORTEST_SIDE + 1.0
    )
    variance = (
        max(adwin.spread, 0.0) / adwin.width
    )  # rounding may leave a constant window just below 0
    return math.sqrt(2.0 * reciprocal * variance * logarithm) + 2.0 / 3.0 * logarithm * reciprocal


def _without_oldest(adwin: Adwin) -> Adwin:
    *smaller, largest = adwin.rows
    oldest, *others = largest
    length = 1 << len(smaller)
    width, total = adwin.width - length, adwin.total - oldest.total
    distance = oldest.total / length - total / width
    rows = (*smaller, tuple(others)) if others else tuple(smaller)
    while len(rows) > 1 and not rows[-1]:
        rows = rows[:-1]
    return replace(
        adwin,
        rows=rows,
        width=width,
        total=total,
        spread=adwin.spread
        - (oldest.spread + length * width * distance * distance / (length + width)),
    )
