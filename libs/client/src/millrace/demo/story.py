"""What happens in the loop, told line by line; and what of it history has to wait for. Fed with events, no I/O."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from millrace.feed import Happening
from millrace.gist import drift_text, metrics_text
from millrace.output import number
from millrace_kernel.time import SECOND, Instant, rfc3339

CHAMPION, FALLBACK = "PREDICTION_ROLE_CHAMPION", "PREDICTION_ROLE_FALLBACK"
WEEK_OF_HOURS = 168
TYPES = (
    "PipelineApplied",
    "DriftDetected",
    "PerformanceDegraded",
    "RetrainRequested",
    "RetrainSkipped",
    "TrainingCompleted",
    "TrainingFailed",
    "ModelPromoted",
    "ModelRejected",
    "ModelRolledBack",
    "ModelDeployed",
    "DeploymentFailed",
    "PredictionMade",
    "LabelObserved",
)


@dataclass(slots=True)
class Errors:
    """How wrong each version was, in the order in which its events were labelled."""

    answers: dict[str, tuple[int, float]] = field(default_factory=dict)  # waiting for their label
    labels: dict[str, float] = field(default_factory=dict)  # waiting for their answer
    first: dict[int, list[float]] = field(default_factory=dict)
    last: dict[int, deque[float]] = field(default_factory=dict)
    joined: int = 0

    def answered(self, event_id: str, version: int, value: float) -> int | None:
        """The version whose first week is complete with this, if one is."""
        label = self.labels.pop(event_id, None)
        if label is None:
            self.answers[event_id] = (version, value)
            return None
        return self._joined(version, abs(value - label))

    def labelled(self, event_id: str, label: float) -> int | None:
        answer = self.answers.pop(event_id, None)
        if answer is None:
            self.labels[event_id] = label
            return None
        return self._joined(answer[0], abs(answer[1] - label))

    def _joined(self, version: int, error: float) -> int | None:
        self.joined += 1
        self.last.setdefault(version, deque(maxlen=WEEK_OF_HOURS)).append(error)
        first = self.first.setdefault(version, [])
        if len(first) == WEEK_OF_HOURS:
            return None
        first.append(error)
        return version if len(first) == WEEK_OF_HOURS else None


class Story:
    """Follows one pipeline. `hear` gives the lines worth telling; the rest is for whoever waits."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self.errors = Errors()
        self._previous: dict[int, int] = {}  # by version: the champion before
        self._drifts: dict[str, Instant] = {}  # when each proof was on the bus
        self._causes: dict[int, str] = {}  # by version: what its run was asked for by
        self.open_runs: set[str] = set()
        self.scored: set[str] = set()
        self.labels = 0
        self.undeployed: set[int] = set()
        self.newest = Instant(0)

    @property
    def deciding(self) -> bool:
        """Whether a run is under way, or what it led to has not been deployed yet."""
        return bool(self.open_runs or self.undeployed)

    def hear(self, happenings: Iterable[Happening]) -> Iterator[str]:
        for happening in happenings:
            if happening.pipeline == self._pipeline:
                line = self._hear(happening)
                if line:
                    yield f"{rfc3339(happening.recorded_at)[:10]}  {line}"

    def _hear(self, happening: Happening) -> str | None:
        tell = _TELLERS.get(happening.type)
        return tell(self, happening) if tell else None

    def _prediction(self, happening: Happening) -> str | None:
        fields = happening.fields
        if fields["role"] not in (CHAMPION, FALLBACK) or fields["event_id"] in self.scored:
            return None
        self.scored.add(fields["event_id"])
        self.newest = max(self.newest, happening.recorded_at)
        if fields["value"] is None:
            return None
        version = self.errors.answered(fields["event_id"], fields["model_version"], fields["value"])
        return self._before_and_after(version)

    def _label(self, happening: Happening) -> str | None:
        self.labels += 1
        value = happening.fields["number"]
        version = self.errors.labelled(happening.fields["event_id"], value or 0.0)
        return self._before_and_after(version)

    def _before_and_after(self, version: int | None) -> str | None:
        """Told once a version has answered for a week."""
        if not version:
            return None
        after = _mean(self.errors.first[version])
        before = self.errors.last.get(self._previous.get(version, -1))
        if not before:
            return None
        previous = (
            f"version {self._previous[version]}" if self._previous[version] else "the fallback"
        )
        change = f"mae {number(_mean(before))} -> {number(after)}"
        return f"error     {change}: the last week of {previous}, the first of version {version}"

    def _drift(self, happening: Happening) -> str:
        self._drifts[happening.id] = happening.appended_at
        fields = happening.fields
        means = f"mean {number(fields['reference_mean'])} -> {number(fields['window_mean'])}"
        return (
            f"drift     {drift_text(fields)}; {means} (version {fields['model_version']} answering)"
        )

    def _degraded(self, happening: Happening) -> str:
        fields = happening.fields
        return f"worse     {fields['metric']} {number(fields['value'])} beyond the tolerated {number(fields['bound'])} (holdout {number(fields['reference'])})"

    def _requested(self, happening: Happening) -> str:
        fields = happening.fields
        self.open_runs.add(fields["run_id"])
        return f"retrain   run {fields['run_number']} because of {fields['trigger']}"

    def _completed(self, happening: Happening) -> str:
        fields = happening.fields
        mine, champion = fields["metrics"], fields["champion_metrics"]
        against = (
            f" against version {fields['champion_version']}'s {metrics_text(_mae(champion))} on the same {fields['holdout_rows']} rows"
            if champion
            else f" on {fields['holdout_rows']} rows"
        )
        return f"candidate run {fields['run_number']}: {metrics_text(_mae(mine))}{against}; fit {fields['fit_seconds']:.1f} s"

    def _failed(self, happening: Happening) -> str:
        self.open_runs.discard(happening.fields["run_id"])
        return f"failed    {happening.fields['reason']}"

    def _rejected(self, happening: Happening) -> str:
        self.open_runs.discard(happening.fields["run_id"])
        return f"rejected  version {happening.fields['version']}: {happening.fields['reason']}"

    def _promoted(self, happening: Happening) -> str:
        fields = happening.fields
        version = fields["version"]
        self._previous[version] = fields["previous_version"]
        self._causes[version] = fields["cause_id"]
        self.open_runs.discard(fields["run_id"])
        self.undeployed.add(fields["epoch"])
        return f"promoted  version {version} instead of {fields['previous_version'] or 'the fallback'} (epoch {fields['epoch']})"

    def _deployed(self, happening: Happening) -> str:
        fields = happening.fields
        version = fields["version"]
        self.undeployed.discard(fields["epoch"])
        proven_at = self._drifts.get(self._causes.get(version, ""))
        since = ""
        if proven_at is not None:
            since = f", {(happening.appended_at - proven_at) / SECOND:.1f} s after the drift"
        return f"deployed  version {version} answers on {fields['instance']}{since}"

    def _deployment_failed(self, happening: Happening) -> str:
        self.undeployed.discard(happening.fields["epoch"])
        return f"failed    version {happening.fields['version']} is not deployed: {happening.fields['reason']}"


_TELLERS = {
    "PredictionMade": Story._prediction,  # noqa: SLF001  the class's own table
    "LabelObserved": Story._label,  # noqa: SLF001
    "DriftDetected": Story._drift,  # noqa: SLF001
    "PerformanceDegraded": Story._degraded,  # noqa: SLF001
    "RetrainRequested": Story._requested,  # noqa: SLF001
    "TrainingCompleted": Story._completed,  # noqa: SLF001
    "TrainingFailed": Story._failed,  # noqa: SLF001
    "ModelRejected": Story._rejected,  # noqa: SLF001
    "ModelPromoted": Story._promoted,  # noqa: SLF001
    "ModelDeployed": Story._deployed,  # noqa: SLF001
    "DeploymentFailed": Story._deployment_failed,  # noqa: SLF001
}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _mae(metrics: dict[str, float]) -> dict[str, float]:
    """What the story follows; all of them when there is no such metric."""
    return {"mae": metrics["mae"]} if "mae" in metrics else metrics
