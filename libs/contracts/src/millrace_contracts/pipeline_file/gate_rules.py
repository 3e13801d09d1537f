"""What a gate may ask for: metrics that the label's kind has, and columns that vectors hold."""

from collections.abc import Collection, Iterator, Sequence

from millrace_contracts.pipeline_file.gate_forms import FairnessForm, GateForm, SliceForm
from millrace_contracts.pipeline_file.problems import Path, did_you_mean, listed, not_one_of, shown

Complaint = tuple[Path, str, str]  # where, what, fix

METRICS = {
    "regression": ("mae", "rmse", "r2"),
    "binary": ("accuracy", "roc_auc", "average_precision", "log_loss"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
}
_EVERY_CHECK = ("overfit", "noise_drop", "missing_drop", "leak", "latency_us", "artifact_bytes")
CHECKS_OF = {
    "regression": _EVERY_CHECK,
    "binary": (*_EVERY_CHECK, "calibration_error"),
    "multiclass": (*_EVERY_CHECK, "calibration_error"),
}
_GATE_FORMS = "{metric: …, max: …}, {metric: …, better_than: champion}, {slice: …}, {fairness: …} or {schema: match}"


def wrong_with_gate(
    path: Path,
    gate: GateForm,
    label: str,
    columns: Sequence[str] | None,
    fields: Collection[str],
) -> Iterator[Complaint]:
    """`label`: its kind. `columns`: the features by name, None while they are not all known. `fields`: what events carry."""
    said = [
        key
        for key in ("metric", "slice", "fairness", "schema")
        if getattr(gate, "schema_" if key == "schema" else key) is not None
    ]
    if len(said) != 1:
        what = f"says {listed(said)}" if said else "says nothing to check"
        yield path, what, f"write one of {_GATE_FORMS}; two gates for two checks"
    elif gate.metric is None:
        for key in ("max", "min", "better_than", "confidence"):
            if getattr(gate, key) is not None:
                yield (*path, key), f"does not go with {said[0]}", f"write it within {said[0]}"
    if gate.slice is not None:
        yield from _slice((*path, "slice"), gate.slice, label)
        yield from _parted_by((*path, "slice", "by"), gate.slice.by, columns, fields)
    if gate.fairness is not None:
        yield from _fairness((*path, "fairness"), gate.fairness, label)
        yield from _parted_by((*path, "fairness", "by"), gate.fairness.by, columns, fields)
    if gate.metric is not None:
        yield from _metric_gate(path, gate, label)


def _metric_gate(path: Path, gate: GateForm, label: str) -> Iterator[Complaint]:
    checks = CHECKS_OF[label]
    known = METRICS[label] + checks
    if gate.metric not in known:
        what, fix = not_one_of(gate.metric, known)
        yield (*path, "metric"), f"{what} (the metrics for {label})", fix
    bounded = gate.max is not None or gate.min is not None
    if bounded == (gate.better_than is not None):
        yield (
            path,
            "says both a bound and better_than"
            if bounded
            else "says neither a bound nor better_than",
            (
                "write {metric: …, max: …}, {metric: …, min: …} or {metric: …, better_than: champion}; two gates for two checks"
            ),
        )
    if gate.better_than is not None and gate.metric in checks:
        what = f"{gate.metric} is not compared with anything"
        yield (*path, "better_than"), what, "write max: a bound instead"
    if gate.confidence is not None and gate.better_than is None:
        yield (*path, "confidence"), "goes with better_than only", "remove it"
    if gate.max is not None and gate.min is not None and gate.min > gate.max:
        yield path, "no number is between the two bounds", "write a min that is not above the max"


def _slice(path: Path, part: SliceForm, label: str) -> Iterator[Complaint]:
    if part.metric not in METRICS[label]:
        what, fix = not_one_of(part.metric, METRICS[label])
        yield (*path, "metric"), f"{what} (the metrics for {label})", fix


def _fairness(path: Path, fair: FairnessForm, label: str) -> Iterator[Complaint]:
    if label != "binary":
        what = f"does not go with a {label} label: nobody is answered yes or no"
        yield path, what, "write a slice gate instead: {slice: {by: …, metric: …, worst: …}}"
    wanted, other = ("min", "max") if fair.measure == "disparate_impact" else ("max", "min")
    if getattr(fair, wanted) is None:
        what = f"{fair.measure} needs {wanted}"
        example = "min: 0.8" if wanted == "min" else "max: 0.1"
        yield path, what, f"add it, e.g. {example}"
    if getattr(fair, other) is not None:
        yield (*path, other), f"does not go with {fair.measure}", f"write {wanted}, or remove it"


def _parted_by(
    path: Path, by: str, columns: Sequence[str] | None, fields: Collection[str]
) -> Iterator[Complaint]:
    """Rows can be parted only by what their vectors hold."""
    if columns is None or by in columns:
        return
    fix = did_you_mean(by, list(columns)) or f"write one of {listed(columns[:20])}"
    if by in fields:
        fix = "make it a feature: of kind category, or a number"
    yield path, f"{shown(by)} is not a feature", fix
