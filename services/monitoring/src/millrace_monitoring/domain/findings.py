"""What a full window or a detector says of each thing that is watched: the measured value and what it is held against."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

from millrace_kernel.pipeline import LabelKind, Monitoring
from millrace_kernel.profile import PREDICTION
from millrace_kernel.time import Instant
from millrace_monitoring.domain.adwin import Change
from millrace_monitoring.domain.events import Kind
from millrace_monitoring.domain.psi import stability
from millrace_monitoring.domain.quality import QualityReport, is_worse, worst_tolerated
from millrace_monitoring.domain.windows import ColumnCounts, InputReport, Reference

ERROR = "error"  # the subject of concept drift
PSI, ADWIN, MISSING, HOLDOUT = "psi", "adwin", "missing", "holdout"  # methods

FALSE_ALARMS_PER_WINDOW = (
    0.001  # probability that chance alone makes any of a window's columns drift
)
MISSING_MARGIN = 0.05  # share of missing values above the reference's that is no news
LONGEST_ERROR = (
    10.0  # mean errors of the holdout; beyond it an error counts as this long, see `error_unit`
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing measured. `threshold` is what `statistic` is held against; `beyond`: it is on the wrong side of it."""

    kind: Kind
    subject: str
    method: str
    statistic: float
    threshold: float
    beyond: bool
    window_start: Instant
    window_end: Instant
    window_events: int
    reference_mean: float = 0.0
    window_mean: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.subject}"


def of_inputs(report: InputReport, monitoring: Monitoring) -> Iterator[Finding]:
    """Drift of every column and of the prediction. A missing value is a bin of its own.

    The chance of a false alarm is shared evenly among them (Bonferroni), so that it does not grow with the columns.
    """
    confidence = 1.0 - FALSE_ALARMS_PER_WINDOW / len(report.columns)
    for place, counted in enumerate(report.columns):
        column = counted.column
        is_prediction = place == len(report.columns) - 1
        shares = (*(share * (1.0 - column.missing) for share in column.shares), column.missing)
        found = stability(shares, column.rows, (*counted.counts, counted.missing), confidence)
        wanted = (
            monitoring.prediction_drift_threshold
            if is_prediction
            else monitoring.data_drift_threshold
        )
        yield Finding(
            kind=Kind.PREDICTION if is_prediction else Kind.DATA,
            subject=PREDICTION if is_prediction else column.name,
            method=PSI,
            statistic=found.statistic,
            threshold=found.threshold(wanted),
            beyond=found.is_beyond(wanted),
            window_start=report.first,
            window_end=report.last,
            window_events=report.events,
            reference_mean=column.mean,
            window_mean=counted.mean,
        )


def of_missing(report: InputReport) -> Iterator[Finding]:
    """Missing values of every column, against the reference's share of them and a clear margin: at least 5 points, and
    above what chance explains (normal approximation of a difference of shares, shared among the columns)."""
    columns = report.columns[:-1]
    for counted in columns:
        share = counted.missing / report.events
        threshold = counted.column.missing + _missing_margin(counted, report.events, len(columns))
        yield Finding(
            kind=Kind.QUALITY,
            subject=counted.column.name,
            method=MISSING,
            statistic=share,
            threshold=threshold,
            beyond=share > threshold,
            window_start=report.first,
            window_end=report.last,
            window_events=report.events,
            reference_mean=counted.column.missing,
            window_mean=share,
        )


def _missing_margin(counted: ColumnCounts, events: int, columns: int) -> float:
    share = counted.column.missing
    variance = share * (1.0 - share) * (1.0 / events + 1.0 / max(counted.column.rows, 1))
    z = NormalDist().inv_cdf(1.0 - FALSE_ALARMS_PER_WINDOW / columns)
    return max(MISSING_MARGIN, z * math.sqrt(variance))


def of_quality(reference: Reference, report: QualityReport, tolerance: float) -> Finding | None:
    """The primary metric against the champion's on its holdout; None where the window does not define it."""
    metric = reference.profile.primary_metric
    if metric == "log_loss" and metric not in report.metrics:
        metric = "accuracy"  # predictions do not carry what log_loss needs
    if metric not in report.metrics or metric not in reference.profile.metrics:
        return None
    value, expected = report.metrics[metric], reference.profile.metrics[metric]
    bound = worst_tolerated(metric, expected, tolerance)
    return Finding(
        kind=Kind.PERFORMANCE,
        subject=metric,
        method=HOLDOUT,
        statistic=value,
        threshold=bound,
        beyond=is_worse(metric, value, bound),
        window_start=report.first,
        window_end=report.last,
        window_events=report.events,
        reference_mean=expected,
        window_mean=value,
    )


def of_increase(change: Change, unit: float, now: Instant) -> Finding:
    """The mean error has grown."""
    before, after = change.before * unit, change.after * unit
    return Finding(
        kind=Kind.CONCEPT,
        subject=ERROR,
        method=ADWIN,
        statistic=after - before,
        threshold=change.epsilon * unit,
        beyond=True,
        window_start=min(change.since, now),
        window_end=max(change.since, now),
        window_events=change.events,
        reference_mean=before,
        window_mean=after,
    )


def of_recovery(standing: Finding, mean: float, tolerance: float) -> Finding:
    """Whether an error that had grown is back: less than half of the growth is left, and less than what is tolerated."""
    before = standing.reference_mean
    threshold = min((standing.window_mean - before) / 2, abs(before) * tolerance)
    return replace(
        standing,
        statistic=mean - before,
        threshold=threshold,
        beyond=mean - before > threshold,
        window_mean=mean,
    )


def error_unit(reference: Reference, kind: LabelKind) -> float:
    """What an error of 1 is to the detector, whose bound is proven for numbers within [0, 1].

    The errors of binary and multiclass are there. Those of regression are measured in mean errors of the holdout and cut
    at ten of them: on unchanged heavy-tailed errors (lognormal, sigma 1.5) this makes 20 times fewer false alarms than
    raw errors, and it finds an increase by half as fast.
    """
    if kind is not LabelKind.REGRESSION:
        return 1.0
    metrics = reference.profile.metrics
    return metrics.get("mae") or metrics.get("rmse") or reference.profile.prediction.std or 1.0
