"""What training on a cluster demands of the other sections: what a cluster cannot do is refused when the file is applied,
not hours later when a run fails."""

from collections.abc import Iterator, Mapping

from millrace_contracts.pipeline_file.draft import Draft
from millrace_contracts.pipeline_file.forms import ModelForm
from millrace_contracts.pipeline_file.problems import Path, shown
from millrace_kernel.pipeline import VectorKind

Complaint = tuple[Path, str, str]  # where, what, fix

_ON_CLUSTERS = "xgboost"
_LABELS = ("binary", "multiclass", "regression")
_NEED_ALL_ROWS = ("calibration", "quantiles", "interval")  # beside the trees, of the newest rows
_HOW = "or leave out training.cluster"


def cluster_complaints(
    cluster: str, draft: Draft, kinds: Mapping[str, VectorKind]
) -> Iterator[Complaint]:
    """`kinds` are the features'."""
    if draft.model:
        yield from _model(cluster, draft.model)
    if draft.label and draft.label.kind not in _LABELS:
        what = f"a {draft.label.kind} label is not learnt on a cluster"
        yield ("spec", "label", "kind"), what, f"write one of {', '.join(_LABELS)}, {_HOW}"
    if draft.retraining and "update" in (draft.retraining.on or ()):
        what = "says update, and trees are not added to a champion on a cluster"
        yield ("spec", "retraining", "on"), what, f"remove update, {_HOW}"
    for name, kind in kinds.items():
        if kind is VectorKind.TEXT:
            what = f"{name} is free text, which is not learnt on a cluster"
            yield ("spec", "fields", name), what, f"make it a category or a string, {_HOW}"


def _model(cluster: str, model: ModelForm) -> Iterator[Complaint]:
    path: Path = ("spec", "model")
    for index, name in enumerate(model.candidates):
        if name != _ON_CLUSTERS:
            what = (
                f"{name} does not learn on a cluster, and training.cluster names {shown(cluster)}"
            )
            yield (*path, "candidates", index), what, f"write {_ON_CLUSTERS} alone, {_HOW}"
    for key in _NEED_ALL_ROWS:
        if getattr(model, key) not in (None, "none"):
            yield (*path, key), "does not go with training.cluster", f"remove it, {_HOW}"
