"""An event in a few words, for people who watch."""

from collections.abc import Callable, Mapping
from typing import Any

from millrace.output import number
from millrace_kernel.time import Instant, rfc3339

Fields = Mapping[str, Any]
_SHOWN = 80  # characters of an answer in words


def gist(event_type: str, fields: Fields) -> str:
    """What an event of this type (without its package) says; its fields' first few when nothing better is known."""
    words = _GISTS.get(event_type)
    return words(fields) if words else _some(fields)


def metrics_text(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in sorted(metrics.items()))


def drift_text(fields: Fields) -> str:
    kind = str(fields["kind"]).removeprefix("DRIFT_KIND_").lower()
    also = sorted(fields.get("also") or {}, key=lambda name: -fields["also"][name])
    others = f" and {len(also) - 2} more" if len(also) > 2 else ""
    more = f", also {', '.join(also[:2])}{others}" if also else ""
    return (
        f"{kind} drift in {fields['subject']}: {fields['method']} {number(fields['statistic'])} "
        f"against {number(fields['threshold'])}{more}"
    )


def day(microseconds: int) -> str:
    return rfc3339(Instant(microseconds))[:16].replace("T", " ")


def _drift_detected(fields: Fields) -> str:
    means = f"mean {number(fields['reference_mean'])} -> {number(fields['window_mean'])}"
    return (
        f"{drift_text(fields)}; {means} over {fields['window_events']} events until "
        f"{day(fields['window_end_us'])}, version {fields['model_version']} answering"
    )


def _degraded(fields: Fields) -> str:
    return (
        f"{fields['metric']} {number(fields['value'])} over {fields['window_events']} events, tolerated "
        f"{number(fields['bound'])} (holdout {number(fields['reference'])}), version {fields['model_version']} answering"
    )


def _completed(fields: Fields) -> str:
    champion = fields["champion_metrics"]
    against = (
        f", champion {fields['champion_version']} {metrics_text(champion)}" if champion else ""
    )
    return (
        f"run {fields['run_number']} ({fields['trigger']}): {fields['algorithm']} {metrics_text(fields['metrics'])}"
        f"{against} on {fields['holdout_rows']} rows; fit {fields['fit_seconds']:.2f} s on {fields['train_rows']} rows"
    )


def _prediction(fields: Fields) -> str:
    answer = fields["class_label"] or _beginning(fields["text"]) or fields["value"]
    shown = number(answer) if isinstance(answer, float) else answer
    return f"{fields['event_id']} at {day(fields['event_time_us'])}: {shown} by version {fields['model_version']}"


def _beginning(words: str | None) -> str:
    """Of an answer in words, on one line; empty for none."""
    line = " ".join((words or "").split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _label(fields: Fields) -> str:
    known = _beginning(fields["text"]) if fields["number"] is None else number(fields["number"])
    return f"{fields['event_id']}: {known}, known at {day(fields['known_at_us'])}"


def _accepted(fields: Fields) -> str:
    return f"{fields['event_id']} of {fields['entity'] or 'the pipeline'} at {day(fields['event_time_us'])}"


def _promoted(fields: Fields) -> str:
    previous = fields["previous_version"]
    instead = f" instead of version {previous}" if previous else ", the first champion"
    return (
        f"version {fields['version']}{instead} (epoch {fields['epoch']}, {fields['trigger']}): "
        f"{fields['algorithm']} {metrics_text(fields['metrics'])}"
    )


def _version_and_reason(fields: Fields) -> str:
    return f"version {fields['version']}: {fields['reason']}"


def _actor(fields: Fields) -> str:
    version = f"version {fields['version']} " if fields.get("version") else ""
    return f"{version}asked for by {fields['actor'] or 'someone'}: {fields['reason'] or 'no reason given'}"


def _some(fields: Fields) -> str:
    plain = {
        k: v for k, v in fields.items() if k != "pipeline" and isinstance(v, str | int | float)
    }
    return " ".join(f"{name}={str(value)[:60]}" for name, value in list(plain.items())[:6])


_GISTS: Mapping[str, Callable[[Fields], str]] = {
    "DriftDetected": _drift_detected,
    "DriftCleared": drift_text,
    "PerformanceDegraded": _degraded,
    "RetrainRequested": lambda f: (
        f"run {f['run_number']} because of {f['trigger']}, as known at {day(f['as_of_us'])}"
    ),
    "RetrainSkipped": lambda f: f"{f['trigger']}: {f['reason']}: {f['detail']}",
    "TrainingStarted": lambda f: f"{f['rows']} rows",
    "TrainingCompleted": _completed,
    "ModelCardMade": lambda f: f"run {f['run_number']}: the card took {f['cpu_seconds']:.1f} CPU s",
    "TrainingFailed": lambda f: f"run {f['run_number']} ({f['trigger']}): {f['reason']}",
    "ModelRegistered": lambda f: (
        f"version {f['version']}: {f['algorithm']} {metrics_text(f['metrics'])}"
    ),
    "ModelRejected": _version_and_reason,
    "ModelPromoted": _promoted,
    "ModelRolledBack": lambda f: (
        f"back to version {f['version']} (epoch {f['epoch']}): {f['reason']}"
    ),
    "ModelRetired": _version_and_reason,
    "ModelDeployed": lambda f: (
        f"version {f['version']} (epoch {f['epoch']}) answers on {f['instance']} after {f['load_seconds']:.2f} s"
    ),
    "DeploymentFailed": _version_and_reason,
    "PipelineApplied": lambda f: f"version {f['version']} is in force",
    "EventAccepted": _accepted,
    "EventLabelled": _accepted,
    "FeaturesComputed": _accepted,
    "LabelObserved": _label,
    "PredictionMade": _prediction,
    "AlertRaised": lambda f: f"{f['severity']}: {f['summary']}",
    "ApprovePromotion": _actor,
    "RejectPromotion": _actor,
    "RollBack": _actor,
    "Retrain": _actor,
}
