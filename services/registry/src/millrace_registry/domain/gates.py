"""What a candidate must prove before it may answer.

A comparison with the champion counts only while that champion answers. If another one has taken its place since the
run measured (a person approved or rolled back meanwhile), the comparison says nothing about the one that answers now,
and the gate fails: a run on fresh data compares again, or a person approves in spite of it. What a run did not measure
fails as well: nothing passes for want of evidence.
"""

import math
from collections.abc import Mapping

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import BASELINE, LOWER_IS_BETTER, Gate, GateKind, LabelKind, Pipeline
from millrace_registry.domain.events import NO_MODEL, TrainingCompleted, Verdict
from millrace_registry.domain.groups import fairness, worst_slice

DEFAULT_CONFIDENCE = 0.95
_OF_CLASSES = (LabelKind.BINARY, LabelKind.MULTICLASS)


def judge(
    file: Pipeline, training: TrainingCompleted, champion: ModelVersionNumber
) -> tuple[Verdict, ...]:
    """The verdict of each of the file's gates, in its order. `champion` is the version that answers now."""
    return tuple(
        Verdict(in_words(gate), *_judged(gate, file, training, champion)) for gate in file.gates
    )


def in_words(gate: Gate) -> str:
    """`mae <= 120`, `mae better than champion (0.95)`, `mae <= 120 in every slice by region`."""
    match gate.kind:
        case GateKind.SCHEMA:
            return "schema matches"
        case GateKind.BETTER:
            return f"{gate.metric} better than {gate.better_than} ({_confidence(gate):g})"
        case GateKind.SLICE:
            return f"{_bounds(gate)} in every slice by {gate.by}"
        case GateKind.FAIRNESS:
            return f"{_bounds(gate)} by {gate.by}"
        case GateKind.BOUND:
            return _bounds(gate)


def _judged(
    gate: Gate, file: Pipeline, training: TrainingCompleted, champion: ModelVersionNumber
) -> tuple[bool, str]:
    """Whether it passed, and the evidence."""
    match gate.kind:
        case GateKind.SCHEMA:
            return _schema(file, training)
        case GateKind.BETTER:
            return _better_than(gate, training, champion)
        case GateKind.SLICE:
            return worst_slice(gate, training.evidence.slices)
        case GateKind.FAIRNESS:
            return fairness(gate, training.evidence.slices)
        case GateKind.BOUND:
            return _within_bounds(gate, training)


def _bounds(gate: Gate) -> str:
    lower = [f"{gate.metric} >= {gate.min:g}"] if gate.min is not None else []
    upper = [f"{gate.metric} <= {gate.max:g}"] if gate.max is not None else []
    return " and ".join(lower + upper)


def _within_bounds(gate: Gate, training: TrainingCompleted) -> tuple[bool, str]:
    value = training.metrics.get(gate.metric)
    if value is None or math.isnan(value):
        return False, f"the run measured no {gate.metric}"
    passed = (gate.max is None or value <= gate.max) and (gate.min is None or value >= gate.min)
    evidence = f"{gate.metric} is {value:.6g} on {training.holdout_rows} rows"
    return passed, evidence + _EXPLAINED.get(gate.metric, lambda _: "")(training)


def _told_alone(training: TrainingCompleted) -> str:
    """Which columns tell the label by themselves: where to look for the leak."""
    best = list(training.evidence.column_scores.items())[:3]
    told = ", ".join(f"{name} {score:.3g}" for name, score in best)
    return (
        f": of a single column's order of the labels, where 1 tells them exactly ({told})"
        if told
        else ""
    )


_EXPLAINED = {"leak": _told_alone}


def _better_than(
    gate: Gate, training: TrainingCompleted, champion: ModelVersionNumber
) -> tuple[bool, str]:
    if gate.better_than == BASELINE:
        return _against_baseline(gate, training)
    return _against_champion(gate, training, champion)


def _against_champion(
    gate: Gate, training: TrainingCompleted, champion: ModelVersionNumber
) -> tuple[bool, str]:
    """Surely a lower loss, and the named metric better as well: a gate that names one is not passed by another."""
    if champion == NO_MODEL:
        return True, "there is no champion yet"
    if training.champion_version != champion:
        return False, _stale(training.champion_version, champion)
    who, theirs = f"version {champion}", training.champion_metrics
    return _better(gate, training, who, theirs, training.better_probability)


def _against_baseline(gate: Gate, training: TrainingCompleted) -> tuple[bool, str]:
    baseline = training.evidence.baseline
    if baseline is None:
        return False, "the run measured no naive baseline"
    who = f"the naive baseline ({baseline.name})"
    return _better(gate, training, who, baseline.metrics, baseline.better_probability)


def _better(
    gate: Gate,
    training: TrainingCompleted,
    who: str,
    metrics: Mapping[str, float],
    probability: float,
) -> tuple[bool, str]:
    ours, theirs = training.metrics.get(gate.metric, math.nan), metrics.get(gate.metric, math.nan)
    if math.isnan(ours) or math.isnan(theirs):
        return False, f"the run did not measure {gate.metric} of both"
    better = ours < theirs if gate.metric in LOWER_IS_BETTER else ours > theirs
    evidence = (
        f"{gate.metric} is {ours:.6g} against {theirs:.6g} of {who} on the same {training.holdout_rows} rows; "
        f"its loss is lower with probability {probability:.4g}"
    )
    return better and probability >= _confidence(gate), evidence


def _schema(file: Pipeline, training: TrainingCompleted) -> tuple[bool, str]:
    """Everything that the candidate eats is computed by the file in force, and it answers that file's label."""
    schema = training.evidence.schema
    if schema is None:
        return False, "the run did not tell what its candidate eats"
    columns = {
        "number": ({each.name for each in file.numbers}, schema.numbers),
        "category": ({each.name for each in file.categories}, schema.categories),
    }
    problems = [
        f"it eats the {kind} columns {unknown}, which version {file.version} of the pipeline does not compute"
        for kind, (known, eaten) in columns.items()
        if (unknown := sorted(set(eaten) - known))
    ]
    if schema.label_kind != file.label.kind.value:
        problems.append(
            f"it answers a {schema.label_kind} label, the pipeline's is {file.label.kind}"
        )
    elif file.label.kind in _OF_CLASSES and len(schema.classes) < 2:
        problems.append(f"it can answer {list(schema.classes)} only")
    if problems:
        return False, "; ".join(problems)
    count = len(schema.numbers) + len(schema.categories)
    return (
        True,
        f"it eats {count} columns that the pipeline computes, and answers a {schema.label_kind} label",
    )


def _stale(compared_with: ModelVersionNumber, champion: ModelVersionNumber) -> str:
    then = f"with version {compared_with}" if compared_with else "with none"
    return f"compared {then}, but version {champion} answers since; retrain to compare again, or approve it"


def _confidence(gate: Gate) -> float:
    return DEFAULT_CONFIDENCE if gate.confidence is None else gate.confidence
