"""What is said, and when: on entering and on leaving a state, never while it lasts.

There is a state for each kind and subject. One window says at most one DriftDetected of a kind: its worst new column, with
the others in `also`. While anything of a kind is beyond its bounds, one alert of that kind is open; it keeps the name of
the first subject. PerformanceDegraded alone is said again for every bad window: the next attempt to mend it may succeed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace_kernel.ids import ModelVersionNumber, PipelineName, derived_id
from millrace_monitoring.domain.events import (
    AlertRaised,
    AlertResolved,
    DataQualityViolated,
    DriftCleared,
    DriftDetected,
    Event,
    Kind,
    PerformanceDegraded,
    Said,
    Severity,
)
from millrace_monitoring.domain.findings import Finding

_SEVERITIES = {Kind.CONCEPT: Severity.CRITICAL, Kind.PERFORMANCE: Severity.CRITICAL}


@dataclass(frozen=True, slots=True)
class Standing:
    """What is beyond its bounds now, by `Finding.key` with the evidence it entered with, and the open alerts by kind."""

    findings: Mapping[str, Finding]
    alerts: Mapping[str, str]


CALM = Standing({}, {})


@dataclass(frozen=True, slots=True)
class Context:
    """Whose findings they are, and the message that gave rise to them."""

    pipeline: PipelineName
    version: ModelVersionNumber
    cause_id: str


def judged(
    standing: Standing, context: Context, kind: Kind, findings: Iterable[Finding]
) -> tuple[Standing, tuple[Event, ...]]:
    """Take in all findings of one kind that were made at once."""
    known = standing.findings
    fresh = list(findings)
    beyond = sorted((finding for finding in fresh if finding.beyond), key=_how_far, reverse=True)
    entered = [finding for finding in beyond if finding.key not in known]
    left = [finding for finding in fresh if not finding.beyond and finding.key in known]
    gone = {finding.key for finding in left}
    now = {key: finding for key, finding in known.items() if key not in gone}
    now |= {finding.key: finding for finding in entered}
    said = tuple(_said(context, kind, beyond, entered, left))
    if not (said or entered or left):
        return standing, ()
    cause = said[0].id if said else context.cause_id
    alerts, alerting = _alerted(standing.alerts, now, context, kind, entered, cause)
    return Standing(now, alerts), (*said, *alerting)


def calmed(standing: Standing, pipeline: PipelineName, cause_id: str) -> tuple[AlertResolved, ...]:
    """A new reference: whatever stood against the old one stands no more."""
    return tuple(
        AlertResolved(pipeline, fingerprint, cause_id)
        for _, fingerprint in sorted(standing.alerts.items())
    )


def _said(
    context: Context,
    kind: Kind,
    beyond: Sequence[Finding],
    entered: Sequence[Finding],
    left: Sequence[Finding],
) -> Iterator[Said]:
    match kind:
        case Kind.PERFORMANCE:
            yield from (_degraded(context, finding) for finding in beyond)
        case Kind.QUALITY:
            yield from (_violated(context, finding) for finding in entered)
        case Kind.DATA | Kind.PREDICTION | Kind.CONCEPT:
            if entered:
                yield _detected(context, entered[0], beyond)
            yield from (_cleared(context, finding) for finding in left)


def _alerted(
    alerts: Mapping[str, str],
    now: Mapping[str, Finding],
    context: Context,
    kind: Kind,
    entered: Sequence[Finding],
    cause_id: str,
) -> tuple[Mapping[str, str], tuple[Event, ...]]:
    """One alert of a kind, open as long as anything of it stands."""
    fingerprint = alerts.get(kind)
    stands = any(finding.kind is kind for finding in now.values())
    if stands and fingerprint is None:
        fingerprint = f"{context.pipeline}/{entered[0].key}"
        summary = _summary(context, entered)
        severity = _SEVERITIES.get(kind, Severity.WARNING)
        raised = AlertRaised(context.pipeline, fingerprint, severity, summary, cause_id)
        return {**alerts, kind: fingerprint}, (raised,)
    if not stands and fingerprint is not None:
        others = {other: name for other, name in alerts.items() if other != kind}
        return others, (AlertResolved(context.pipeline, fingerprint, cause_id),)
    return alerts, ()


def _how_far(finding: Finding) -> float:
    return finding.statistic / finding.threshold if finding.threshold else finding.statistic


def _id(context: Context, word: str, finding: Finding) -> str:
    return derived_id(context.cause_id, word, context.pipeline, finding.key)


def _detected(context: Context, worst: Finding, beyond: Sequence[Finding]) -> DriftDetected:
    return DriftDetected(
        id=_id(context, "DriftDetected", worst),
        pipeline=context.pipeline,
        kind=worst.kind,
        subject=worst.subject,
        method=worst.method,
        statistic=worst.statistic,
        threshold=worst.threshold,
        model_version=context.version,
        window_start=worst.window_start,
        window_end=worst.window_end,
        window_events=worst.window_events,
        reference_mean=worst.reference_mean,
        window_mean=worst.window_mean,
        also={other.subject: other.statistic for other in beyond if other is not worst},
    )


def _cleared(context: Context, finding: Finding) -> DriftCleared:
    return DriftCleared(
        id=_id(context, "DriftCleared", finding),
        pipeline=context.pipeline,
        kind=finding.kind,
        subject=finding.subject,
        method=finding.method,
        statistic=finding.statistic,
        threshold=finding.threshold,
        model_version=context.version,
    )


def _degraded(context: Context, finding: Finding) -> PerformanceDegraded:
    return PerformanceDegraded(
        id=_id(context, "PerformanceDegraded", finding),
        pipeline=context.pipeline,
        metric=finding.subject,
        value=finding.statistic,
        bound=finding.threshold,
        reference=finding.reference_mean,
        model_version=context.version,
        window_start=finding.window_start,
        window_end=finding.window_end,
        window_events=finding.window_events,
    )


def _violated(context: Context, finding: Finding) -> DataQualityViolated:
    return DataQualityViolated(
        id=_id(context, "DataQualityViolated", finding),
        pipeline=context.pipeline,
        column=finding.subject,
        rule=finding.method,
        value=finding.statistic,
        threshold=finding.threshold,
        window_events=finding.window_events,
    )


def _summary(context: Context, entered: Sequence[Finding]) -> str:
    """One line: what, by how much, over what, and since when it is not alone."""
    worst = entered[0]
    what = {
        Kind.DATA: f"{worst.subject} has drifted: psi",
        Kind.PREDICTION: "the predictions have drifted: psi",
        Kind.CONCEPT: "the error has grown: by",
        Kind.PERFORMANCE: f"version {context.version} has got worse: {worst.subject}",
        Kind.QUALITY: f"{worst.subject} is missing too often: share",
    }[worst.kind]
    means = (
        f", mean {worst.reference_mean:.3g} -> {worst.window_mean:.3g}"
        if worst.kind in (Kind.DATA, Kind.PREDICTION, Kind.CONCEPT) and worst.window_mean
        else ""
    )
    others = f", and {len(entered) - 1} more" if len(entered) > 1 else ""
    return (
        f"{context.pipeline}: {what} {worst.statistic:.3g} against {worst.threshold:.3g} "
        f"over {worst.window_events} events{means}{others}"
    )
