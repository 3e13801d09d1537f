"""What a gate may ask for: metrics that the label's kind has, and columns that vectors hold."""

from collections.abc import Collection, Iterator, Sequence

from millrace_contracts.pipeline_file.forms import ModelForm
from millrace_contracts.pipeline_file.gate_forms import FairnessForm, GateForm, SliceForm
from millrace_contracts.pipeline_file.problems import Path, did_you_mean, listed, not_one_of, shown

Complaint = tuple[Path, str, str]  # where, what, fix

METRICS = {
    "regression": ("mae", "rmse", "r2", "pinball_loss", "coverage", "interval_width"),
    "binary": ("accuracy", "roc_auc", "average_precision", "log_loss", "brier"),
    "multiclass": ("accuracy", "log_loss", "brier", "macro_f1"),
    "text": ("rouge_l", "bleu", "exact_match"),
}
# what a model must be asked for in spec.model, so that there is something to measure
_ASKED_FOR = {"pinball_loss": "quantiles", "coverage": "interval", "interval_width": "interval"}
# a wider interval covers more, and a narrower one is no better for it; no baseline answers quantiles
_INCOMPARABLE = {
    "coverage": ("champion", "baseline"),
    "interval_width": ("champion", "baseline"),
    "pinball_loss": ("baseline",),
}
_EVERY_CHECK = ("overfit", "noise_drop", "missing_drop", "leak", "latency_us", "artifact_bytes")
CHECKS_OF = {
    "regression": _EVERY_CHECK,
    "binary": (*_EVERY_CHECK, "calibration_error"),
    "multiclass": (*_EVERY_CHECK, "calibration_error"),
    "text": tuple(check for check in _EVERY_CHECK if check != "leak"),
}
_GATE_FORMS = "{metric: …, max: …}, {metric: …, better_than: champion}, {slice: …}, {fairness: …} or {schema: match}"


def wrong_with_gate(
    path: Path,
    gate: GateForm,
    label: str,
    columns: Sequence[str] | None,
    fields: Collection[str],
    asked: Collection[str] | None = None,
) -> Iterator[Complaint]:
    """`label`: its kind. `columns`: the features by name, None while they are not all known. `fields`: what events carry.
    `asked`: what the model is asked for beside the value (quantiles, interval), None while that is not known."""
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
    yield from _asked_for(path, gate, label, asked)


def answered(model: ModelForm | None) -> set[str] | None:
    """What models are asked for beside the value; None while the section can't be read."""
    if model is None:
        return None
    return {key for key in ("quantiles", "interval") if getattr(model, key)}


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
    if gate.better_than is not None:
        yield from _comparison((*path, "better_than"), gate.metric or "", gate.better_than, checks)
    if gate.confidence is not None and gate.better_than is None:
        yield (*path, "confidence"), "goes with better_than only", "remove it"
    if gate.max is not None and gate.min is not None and gate.min > gate.max:
        yield path, "no number is between the two bounds", "write a min that is not above the max"


def _comparison(
    path: Path, metric: str, other: str, checks: Collection[str]
) -> Iterator[Complaint]:
    if metric in checks:
        yield path, f"{metric} is not compared with anything", "write max: a bound instead"
    if other in _INCOMPARABLE.get(metric, ()):
        yield path, f"{metric} is not compared with the {other}", "write a bound instead"


def _asked_for(
    path: Path, gate: GateForm, label: str, asked: Collection[str] | None
) -> Iterator[Complaint]:
    """A metric of something that a model only answers when it is asked for it."""
    if asked is None:
        return
    part = gate.slice
    for below, metric in (("metric",), gate.metric), (("slice", "metric"), part and part.metric):
        key = _ASKED_FOR.get(metric or "")
        if key is not None and key not in asked and metric in METRICS[label]:
            example = "quantiles: [0.1, 0.5, 0.9]" if key == "quantiles" else "interval: 0.9"
            what = f"{metric} is of the {key} that no model is asked for"
            yield (*path, *below), what, f"add {example} to model"


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
