"""Gates on parts of the holdout: the worst slice, and how differently groups are treated."""

import math
from collections.abc import Sequence

from millrace_kernel.evidence import SliceMetrics
from millrace_kernel.pipeline import LOWER_IS_BETTER, Fairness, Gate

_NAMED = 5  # groups that a verdict names


def worst_slice(gate: Gate, slices: Sequence[SliceMetrics]) -> tuple[bool, str]:
    """Every slice that is large enough keeps the bound. Those that are too small are counted, and decide nothing."""
    measured = [part for part in slices if part.by == gate.by]
    judged = [part for part in measured if part.rows >= gate.rows and gate.metric in part.metrics]
    if not judged:
        return False, _nothing(gate, measured)
    lower = gate.metric in LOWER_IS_BETTER
    ordered = sorted(judged, key=lambda part: part.metrics[gate.metric], reverse=lower)
    worst = ordered[0]
    value = worst.metrics[gate.metric]
    passed = value <= gate.max if gate.max is not None else value >= (gate.min or 0.0)
    others = f", of {len(judged)} slices" if len(judged) > 1 else ", the only slice"
    evidence = (
        f"worst is {gate.by} {worst.value!r}: {gate.metric} is {value:.6g} on {worst.rows} rows{others}"
        f"{_left_out(gate, measured, judged)}"
    )
    return passed, evidence


def fairness(gate: Gate, slices: Sequence[SliceMetrics]) -> tuple[bool, str]:
    """A bound on the difference or the ratio between the groups' shares. One group alone is treated like itself: that passes."""
    share, of = _SHARES[Fairness(gate.metric)]
    measured = [part for part in slices if part.by == gate.by]
    judged = [
        part for part in measured if _counted(part, of) >= gate.rows and share in part.metrics
    ]
    if not judged:
        return False, _nothing(gate, measured)
    shares = sorted(judged, key=lambda part: part.metrics[share])
    low, high = shares[0].metrics[share], shares[-1].metrics[share]
    if gate.metric == Fairness.DISPARATE_IMPACT:
        value = low / high if high > 0.0 else 1.0  # nobody is answered 1: nobody is preferred
    else:
        value = high - low
    passed = (gate.max is None or value <= gate.max) and (gate.min is None or value >= gate.min)
    return (
        passed,
        f"{gate.metric} is {value:.4g}: {_told(shares, share, of)}{_left_out(gate, measured, judged)}",
    )


# The share that is compared, and which rows it is of: "" stands for all
_SHARES = {
    Fairness.DEMOGRAPHIC_PARITY: ("positive_share", ""),
    Fairness.DISPARATE_IMPACT: ("positive_share", ""),
    Fairness.EQUAL_OPPORTUNITY: ("true_positive_share", "positives"),
}


def _counted(part: SliceMetrics, of: str) -> float:
    """The rows that a share is of: a share of few says nothing."""
    value = part.metrics.get(of, 0.0) if of else float(part.rows)
    return 0.0 if math.isnan(value) else value


def _told(shares: Sequence[SliceMetrics], share: str, of: str) -> str:
    """The groups with the smallest and largest shares, with counts."""
    shown = shares if len(shares) <= _NAMED else [*shares[: _NAMED - 1], shares[-1]]
    what = "answered 1 of those labelled 1" if of else "answered 1"
    told = [
        f"{part.by} {part.value!r} {part.metrics[share]:.1%} of {_counted(part, of):g}"
        for part in shown
    ]
    more = f" and {len(shares) - len(shown)} between" if len(shares) > len(shown) else ""
    return f"{what}: {', '.join(told)}{more}"


def _nothing(gate: Gate, measured: Sequence[SliceMetrics]) -> str:
    if not measured:
        return f"the run measured no slices by {gate.by}"
    largest = max(measured, key=lambda part: part.rows)
    return (
        f"none of {len(measured)} slices by {gate.by} has {gate.rows} rows to tell {gate.metric} by; "
        f"the largest, {largest.value!r}, has {largest.rows}: hold out more, or ask for fewer rows"
    )


def _left_out(gate: Gate, measured: Sequence[SliceMetrics], judged: Sequence[SliceMetrics]) -> str:
    count = len(measured) - len(judged)
    return f"; {count} of too few rows (under {gate.rows}) not counted" if count else ""
