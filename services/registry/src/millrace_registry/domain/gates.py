"""What a candidate must prove before it may answer.

A comparison with the champion counts only while that champion answers. If another one has taken its place since the
run measured (a person approved or rolled back meanwhile), the comparison says nothing about the one that answers now,
and the gate fails: a run on fresh data compares again, or a person approves in spite of it.
"""

import math
from collections.abc import Sequence

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import Gate
from millrace_registry.domain.events import NO_MODEL, TrainingCompleted, Verdict

LOWER_IS_BETTER = frozenset({"mae", "rmse", "log_loss"})
DEFAULT_CONFIDENCE = 0.95


def judge(
    gates: Sequence[Gate], training: TrainingCompleted, champion: ModelVersionNumber
) -> tuple[Verdict, ...]:
    """Every gate's verdict, in the file's order. `champion` is the version that answers now."""
    return tuple(
        _against_champion(gate, training, champion)
        if gate.better_than
        else _within_bounds(gate, training)
        for gate in gates
    )


def in_words(gate: Gate) -> str:
    """`mae <= 120`, `mae better than champion (0.95)`."""
    if gate.better_than:
        return f"{gate.metric} better than {gate.better_than} ({_confidence(gate):g})"
    lower = [f"{gate.metric} >= {gate.min:g}"] if gate.min is not None else []
    upper = [f"{gate.metric} <= {gate.max:g}"] if gate.max is not None else []
    return " and ".join(lower + upper)


def _within_bounds(gate: Gate, training: TrainingCompleted) -> Verdict:
    value = training.metrics.get(gate.metric)
    if value is None or math.isnan(value):
        return Verdict(in_words(gate), False, f"the run measured no {gate.metric}")
    passed = (gate.max is None or value <= gate.max) and (gate.min is None or value >= gate.min)
    return Verdict(
        in_words(gate), passed, f"{gate.metric} is {value:.6g} on {training.holdout_rows} rows"
    )


def _against_champion(
    gate: Gate, training: TrainingCompleted, champion: ModelVersionNumber
) -> Verdict:
    """Surely a lower loss, and the named metric better as well: a gate that names one is not passed by another."""
    if champion == NO_MODEL:
        return Verdict(in_words(gate), True, "there is no champion yet")
    if training.champion_version != champion:
        return Verdict(in_words(gate), False, _stale(training.champion_version, champion))
    ours, theirs = (
        training.metrics.get(gate.metric, math.nan),
        training.champion_metrics.get(gate.metric, math.nan),
    )
    if math.isnan(ours) or math.isnan(theirs):
        return Verdict(in_words(gate), False, f"the run did not measure {gate.metric} of both")
    better = ours < theirs if gate.metric in LOWER_IS_BETTER else ours > theirs
    sure = training.better_probability >= _confidence(gate)
    evidence = (
        f"{gate.metric} is {ours:.6g} against {theirs:.6g} of version {champion} on the same {training.holdout_rows} rows; "
        f"its loss is lower with probability {training.better_probability:.4g}"
    )
    return Verdict(in_words(gate), better and sure, evidence)


def _stale(compared_with: ModelVersionNumber, champion: ModelVersionNumber) -> str:
    then = f"with version {compared_with}" if compared_with else "with none"
    return f"compared {then}, but version {champion} answers since; retrain to compare again, or approve it"


def _confidence(gate: Gate) -> float:
    return DEFAULT_CONFIDENCE if gate.confidence is None else gate.confidence
