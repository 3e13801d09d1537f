"""One pipeline under watch: all that is remembered of it, and what each thing heard makes of that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.time import EARLIEST, Instant
from millrace_monitoring.domain import adwin, findings, quality, trials, windows
from millrace_monitoring.domain.adwin import Adwin
from millrace_monitoring.domain.events import (
    ChallengerEnded,
    ChallengerStarted,
    Event,
    Kind,
    LabelObserved,
    ModelPromoted,
    ModelRolledBack,
    PredictionMade,
    Role,
)
from millrace_monitoring.domain.findings import Finding
from millrace_monitoring.domain.joins import Scored
from millrace_monitoring.domain.pipelines import WatchedPipeline
from millrace_monitoring.domain.policy import CALM, Context, Standing, calmed, judged
from millrace_monitoring.domain.quality import Pair, QualityReport, QualityWindow, Tally
from millrace_monitoring.domain.trials import Trial
from millrace_monitoring.domain.windows import InputWindow, Reference

NO_VERSION = ModelVersionNumber(0)


@dataclass(frozen=True, slots=True)
class Monitor:
    """All that is remembered; `epoch` 0: no champion yet.

    `tallies` are by model version (0: the fallback) and `overall` is over the champions' answers, all since ever: what
    prequential evaluation asks for (Gama, Sebastião and Rodrigues, "On evaluating stream learning algorithms", 2013).
    The windows, the detector, what stands and the trial are of the champion of `epoch` alone; `trials` is the number of
    the newest trial heard of, running or over.
    """

    epoch: int = 0
    version: ModelVersionNumber = NO_VERSION
    heard: int = 0  # predictions and labels
    newest: Instant = EARLIEST  # recorded time of any of them
    inputs: InputWindow = field(default_factory=InputWindow)
    quality: QualityWindow = field(default_factory=QualityWindow)
    concept: Adwin | None = None
    standing: Standing = CALM
    last_inputs: tuple[Finding, ...] = ()
    last_quality: QualityReport | None = None
    tallies: Mapping[int, Tally] = field(default_factory=dict)
    overall: Tally = field(default_factory=Tally)
    trial: Trial | None = None
    trials: int = 0


Outcome = tuple[Monitor, tuple[Event, ...]]


def on_champion(monitor: Monitor, event: ModelPromoted | ModelRolledBack) -> Outcome:
    """A new reference: windows, detectors and states begin anew; the tallies go on. An older epoch changes nothing."""
    if event.epoch <= monitor.epoch:
        return monitor, ()
    fresh = Monitor(
        epoch=event.epoch,
        version=event.version,
        heard=monitor.heard,
        newest=monitor.newest,
        tallies=monitor.tallies,
        overall=monitor.overall,
        trials=monitor.trials,
    )
    return fresh, calmed(monitor.standing, event.pipeline, event.id)


def on_challenger(monitor: Monitor, event: ChallengerStarted) -> Monitor:
    """A trial begins, or goes on with a larger share. An older trial or step changes nothing, nor does one of another epoch."""
    trial = monitor.trial
    running = trial is not None and trial.number == event.trial
    if event.trial < monitor.trials or (event.trial == monitor.trials and not running):
        return monitor
    if running and trial is not None and event.step <= trial.step:
        return monitor
    known = replace(monitor, trials=event.trial, trial=None)
    if event.epoch != monitor.epoch:
        return known
    return replace(known, trial=trials.started(trial, event))


def on_challenger_ended(monitor: Monitor, event: ChallengerEnded) -> Monitor:
    """What else is heard of the challenger's version ends its trial."""
    if monitor.trial is None or monitor.trial.challenger.version != event.version:
        return monitor
    return replace(monitor, trial=None)


def on_compared(
    monitor: Monitor,
    watched: WatchedPipeline,
    reference: Reference | None,
    prediction: PredictionMade | None,
    pair: tuple[Pair, Pair] | None,
    cause_id: str,
) -> Outcome:
    """Count an answer given in the running trial, or an event that both versions have answered and whose truth is known."""
    before = monitor.trial
    if before is None or reference is None:
        return monitor, ()
    trial, kind = before, watched.label_kind
    if prediction is not None and prediction.trial == trial.number:
        trial = trials.answered(trial, prediction)
    if pair is not None:
        trial = trials.compared(trial, kind, reference, *pair)
    if trial is before:
        return monitor, ()
    trial, said = trials.judged(
        before, trial, watched.name, watched.promotion, kind, reference, cause_id
    )
    return replace(monitor, trial=trial), (said,) if said else ()


def heard(monitor: Monitor, recorded_at: Instant) -> Monitor:
    """One more prediction or label."""
    newest = max(monitor.newest, recorded_at)
    return replace(monitor, heard=monitor.heard + 1, newest=newest)


def watches(monitor: Monitor, prediction: PredictionMade) -> bool:
    """Whether a prediction shows what the champion sees: not the fallback's, a challenger's or a former champion's."""
    return (
        (prediction.epoch, prediction.model_version) == (monitor.epoch, monitor.version)
        and monitor.epoch > 0
        and prediction.role is not Role.CHALLENGER
    )


def on_prediction(
    monitor: Monitor, watched: WatchedPipeline, reference: Reference, prediction: PredictionMade
) -> Outcome:
    """Count what the champion saw and answered; judge the window when it is full."""
    size = watched.monitoring.window
    shape = watched.shape_of(prediction.pipeline_version)
    window, report = windows.update(monitor.inputs, reference, shape, prediction, size)
    monitor = replace(monitor, inputs=window)
    if report is None:
        return monitor, ()
    drift = tuple(findings.of_inputs(report, watched.monitoring))
    context = Context(watched.name, monitor.version, prediction.id)
    monitor, of_data = _judge(monitor, context, Kind.DATA, drift[:-1])
    monitor, of_answers = _judge(monitor, context, Kind.PREDICTION, drift[-1:])
    monitor, of_missing = _judge(monitor, context, Kind.QUALITY, findings.of_missing(report))
    return replace(monitor, last_inputs=drift), (*of_data, *of_answers, *of_missing)


def on_scored(
    monitor: Monitor,
    watched: WatchedPipeline,
    reference: Reference | None,
    scored: Scored,
    cause: LabelObserved | PredictionMade,
) -> Outcome:
    """Count a labelled answer; hold the champion's error against its past, and its full windows against its holdout."""
    kind = watched.label_kind
    tally = monitor.tallies.get(scored.version, Tally())
    tallies = {**monitor.tallies, scored.version: quality.counted(tally, kind, scored.pair)}
    if not (scored.answers_users and scored.version):
        return replace(monitor, tallies=tallies), ()
    overall = quality.counted(monitor.overall, kind, scored.pair)
    if reference is None or (scored.epoch, scored.version) != (monitor.epoch, monitor.version):
        return replace(monitor, tallies=tallies, overall=overall), ()
    context = Context(watched.name, monitor.version, cause.id)
    detector, of_error = _on_error(monitor, watched, reference, scored)
    window, report = quality.update(monitor.quality, kind, scored.pair, watched.monitoring.window)
    # all that every label changes, at once: copying a monitor is what a label costs most
    monitor = replace(monitor, tallies=tallies, overall=overall, concept=detector, quality=window)
    monitor, drifted = _judge_one(monitor, context, of_error)
    if report is None:
        return monitor, drifted
    tolerance = watched.monitoring.performance_tolerance
    of_quality = findings.of_quality(reference, report, tolerance)
    monitor, degraded = _judge_one(replace(monitor, last_quality=report), context, of_quality)
    return monitor, (*drifted, *degraded)


def _on_error(
    monitor: Monitor, watched: WatchedPipeline, reference: Reference, scored: Scored
) -> tuple[Adwin, Finding | None]:
    """The detector after one more error, and what it says of the mean error."""
    delta = watched.monitoring.concept_drift_delta
    detector = monitor.concept or Adwin(delta)
    if detector.delta != delta:
        detector = replace(detector, delta=delta)
    unit = findings.error_unit(reference, watched.label_kind)
    error = min(quality.error_of(watched.label_kind, scored.pair) / unit, findings.LONGEST_ERROR)
    detector, change = adwin.update(detector, error, scored.pair.at)
    standing = monitor.standing.findings.get(f"{Kind.CONCEPT}/{findings.ERROR}")
    if change is not None and change.is_increase:
        return detector, findings.of_increase(change, unit, scored.pair.at)
    if standing is not None and detector.seen % adwin.CHECK_EVERY == 0:
        tolerance = watched.monitoring.performance_tolerance
        return detector, findings.of_recovery(standing, detector.mean * unit, tolerance)
    return detector, None


def _judge_one(monitor: Monitor, context: Context, finding: Finding | None) -> Outcome:
    return (monitor, ()) if finding is None else _judge(monitor, context, finding.kind, (finding,))


def _judge(monitor: Monitor, context: Context, kind: Kind, found: Iterable[Finding]) -> Outcome:
    standing, events = judged(monitor.standing, context, kind, found)
    return replace(monitor, standing=standing), events
