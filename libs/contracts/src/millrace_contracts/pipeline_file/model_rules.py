"""What the model section demands of its own keys, of the label and of the retraining."""

from collections.abc import Iterator
from itertools import pairwise

from millrace_contracts.pipeline_file.forms import LabelForm, ModelForm, RetrainingForm
from millrace_contracts.pipeline_file.problems import Path, listed, shown
from millrace_kernel.pipeline import MEDIAN, UPDATED, takes_parameters

Complaint = tuple[Path, str, str]  # where, what, fix

_PATH: Path = ("spec", "model")
_OF_CLASSES, _OF_VALUES = ("balance", "calibration"), ("quantiles", "interval")
_UNFIT = {
    "regression": _OF_CLASSES,
    "binary": _OF_VALUES,
    "multiclass": _OF_VALUES,
    "text": _OF_CLASSES + _OF_VALUES,
}
_NOTHING = (None, False, "none")
_WITH_QUANTILES = ("xgboost",)  # models that answer them


def options_complaints(
    model: ModelForm, label: LabelForm, retraining: RetrainingForm | None
) -> Iterator[Complaint]:
    """What is wrong with balance, calibration, quantiles, interval and parameters."""
    given = [key for key in _OF_CLASSES + _OF_VALUES if getattr(model, key) not in _NOTHING]
    unfit = _UNFIT[label.kind]
    for key in given:
        if key in unfit:
            kinds = "binary and multiclass" if key in _OF_CLASSES else "regression"
            yield (
                (*_PATH, key),
                f"does not go with a {label.kind} label",
                f"remove it: it is for {kinds}",
            )
    if model.quantiles and label.kind == "regression":
        yield from _quantiles(model, model.quantiles)
    if retraining is not None and "update" in (retraining.on or ()):
        finishing = [key for key in given if key != "balance"]
        yield from _updates(model, label, finishing)
    for name in model.parameters:
        path = (*_PATH, "parameters", name)
        if name not in model.candidates:
            yield path, "is not among the candidates", "add it there, or remove it here"
        elif not takes_parameters(name):
            fix = "remove it; parameters are for candidates of one's own, others are searched"
            yield path, "has parameters of its own", fix


def _updates(model: ModelForm, label: LabelForm, finishing: list[str]) -> Iterator[Complaint]:
    """Runs that could only fail, one after the other. Where some candidates are updated, the champion decides."""
    path: Path = ("spec", "retraining", "on")
    if finishing:
        what = f"says update, and updated trees lose what model.{finishing[0]} asks for"
        yield path, what, f"remove update here, or model.{finishing[0]}"
    if label.kind != "text" and not set(model.candidates) & set(UPDATED):
        those = "is not" if len(model.candidates) == 1 else "are not"
        what = f"says update, and {listed(model.candidates)} {those} updated"
        straight = "online_linear" if label.kind == "regression" else "online_logistic"
        fix = f"remove update here, or add xgboost or {straight} to model.candidates"
        yield path, what, fix


def _quantiles(model: ModelForm, quantiles: list[float]) -> Iterator[Complaint]:
    path = (*_PATH, "quantiles")
    if any(after <= before for before, after in pairwise(quantiles)):
        yield path, f"{shown(quantiles)} does not grow", "write e.g. [0.1, 0.5, 0.9]"
    if MEDIAN not in quantiles:
        yield path, f"{shown(quantiles)} lacks 0.5, which is the value", "add 0.5"
    for index, name in enumerate(model.candidates):
        if name not in _WITH_QUANTILES:
            where = (*_PATH, "candidates", index)
            yield (
                where,
                f"{name} does not answer quantiles",
                f"write {listed(_WITH_QUANTILES)}, or remove quantiles",
            )
