"""What a person is told of a pipeline: how it does now, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import rfc3339
from millrace_monitoring.domain.findings import Finding
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import WatchedPipeline
from millrace_monitoring.domain.quality import QualityReport, Tally, metrics_of
from millrace_monitoring.domain.sequences import bounds
from millrace_monitoring.domain.trials import loss_of, verdict_of
from millrace_monitoring.domain.windows import Reference


@dataclass(frozen=True, slots=True)
class Champion:
    """`metrics` are those of its holdout."""

    version: int
    epoch: int
    primary_metric: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Progress:
    """How full the windows are: of the champion's predictions, and of those whose label is known."""

    size: int
    predictions: int
    labelled: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing over one window, and what it is held against. Times are event times, RFC 3339."""

    kind: str
    subject: str
    method: str
    statistic: float
    threshold: float
    beyond: bool
    window_start: str
    window_end: str
    window_events: int
    reference_mean: float
    window_mean: float


@dataclass(frozen=True, slots=True)
class LastQuality:
    """The metrics of the newest full window of labelled predictions."""

    metrics: Mapping[str, float]
    events: int
    window_start: str
    window_end: str


@dataclass(frozen=True, slots=True)
class Running:
    """Metrics over all labelled predictions so far (prequential). `events` counts them."""

    events: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A running trial. `lower` and `upper` bound the mean of the champion's loss less the challenger's, in the unit of the loss."""

    challenger: int
    champion: int
    trial: int
    step: int
    events: int
    loss: str
    difference: float
    lower: float
    upper: float
    confidence: float
    verdict: str
    champion_metrics: Mapping[str, float]
    challenger_metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Status:
    """`drifts`: what is beyond its bounds now, with the evidence it entered with. `alerts`: fingerprints of the open ones.
    `overall`: over the champions' answers since the first of them. `versions`: by model version, "0" is the fallback."""

    pipeline: str
    pipeline_version: int
    champion: Champion | None
    window: Progress
    drifts: list[Measured]
    alerts: list[str]
    last_inputs: list[Measured]
    last_quality: LastQuality | None
    overall: Running
    versions: Mapping[str, Running]
    comparison: Comparison | None


def status_of(watched: WatchedPipeline, reference: Reference | None, monitor: Monitor) -> Status:
    kind, last = watched.label_kind, monitor.last_quality
    return Status(
        pipeline=watched.name,
        pipeline_version=watched.version,
        champion=None if reference is None else _champion(reference),
        window=Progress(watched.monitoring.window, monitor.inputs.events, monitor.quality.events),
        drifts=[_measured(finding) for _, finding in sorted(monitor.standing.findings.items())],
        alerts=sorted(monitor.standing.alerts.values()),
        last_inputs=[_measured(finding) for finding in monitor.last_inputs],
        last_quality=None if last is None else _last_quality(last),
        overall=_running(monitor.overall, kind),
        versions={
            str(version): _running(tally, kind)
            for version, tally in sorted(monitor.tallies.items())
        },
        comparison=_comparison(watched, reference, monitor),
    )


def _comparison(
    watched: WatchedPipeline, reference: Reference | None, monitor: Monitor
) -> Comparison | None:
    trial = monitor.trial
    if trial is None or reference is None:
        return None
    kind, confidence = watched.label_kind, watched.promotion.confidence
    loss = loss_of(reference, kind)
    lower, upper = bounds(trial.evidence, confidence)
    return Comparison(
        challenger=trial.challenger.version,
        champion=trial.champion.version,
        trial=trial.number,
        step=trial.step,
        events=trial.evidence.count,
        loss=loss.name,
        difference=trial.evidence.mean * loss.unit,
        lower=lower * loss.unit,
        upper=upper * loss.unit,
        confidence=confidence,
        verdict=verdict_of(trial, watched.promotion).value,
        champion_metrics=metrics_of(trial.champion.tally, kind),
        challenger_metrics=metrics_of(trial.challenger.tally, kind),
    )


def _champion(reference: Reference) -> Champion:
    profile = reference.profile
    return Champion(reference.version, reference.epoch, profile.primary_metric, profile.metrics)


def _last_quality(last: QualityReport) -> LastQuality:
    return LastQuality(last.metrics, last.events, rfc3339(last.first), rfc3339(last.last))


def _measured(finding: Finding) -> Measured:
    return Measured(
        kind=finding.kind,
        subject=finding.subject,
        method=finding.method,
        statistic=finding.statistic,
        threshold=finding.threshold,
        beyond=finding.beyond,
        window_start=rfc3339(finding.window_start),
        window_end=rfc3339(finding.window_end),
        window_events=finding.window_events,
        reference_mean=finding.reference_mean,
        window_mean=finding.window_mean,
    )


def _running(tally: Tally, kind: LabelKind) -> Running:
    return Running(tally.events, metrics_of(tally, kind))
