"""The file section by section: what fits its form, and None for what does not, so that the rules between sections still
find what is wrong in the rest."""

from dataclasses import dataclass
from typing import TypeVar

from millrace_contracts.pipeline_file.basic_forms import Form
from millrace_contracts.pipeline_file.checking import check, keys_of, missing_key, unknown_key
from millrace_contracts.pipeline_file.cluster_forms import TrainingForm
from millrace_contracts.pipeline_file.forms import (
    EventForm,
    FeatureForm,
    FieldForm,
    FileForm,
    LabelForm,
    MetadataForm,
    ModelForm,
    MonitoringForm,
    PromotionForm,
    RetrainingForm,
    ServingForm,
    SourceForm,
    SpecForm,
    kind_as_mapping,
)
from millrace_contracts.pipeline_file.gate_forms import GateForm
from millrace_contracts.pipeline_file.problems import Path, PipelineFileError, not_one_of, shown
from millrace_contracts.pipeline_file.tree import Tree

F = TypeVar("F", bound=Form)
MAX_ITEMS = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """What could be read. A field that is None is there but wrong: its name is known, its kind is not."""

    metadata: MetadataForm | None
    source: SourceForm | None
    event: EventForm | None
    fields: dict[str, FieldForm | None]
    features: dict[int, FeatureForm]  # by their place in the file
    label: LabelForm | None
    model: ModelForm | None
    gates: dict[int, GateForm]
    promotion: PromotionForm | None
    monitoring: MonitoringForm | None
    retraining: RetrainingForm | None
    serving: ServingForm | None
    training: TrainingForm | None


def draft_of(tree: Tree) -> Draft:
    """Check every section by itself; problems are noted in the tree."""
    if not isinstance(tree.value, dict):
        what = "the file is empty" if tree.value is None else "the file is not a mapping"
        raise PipelineFileError(
            [
                *tree.problems,
                tree.problem((), what, f"write the keys {', '.join(keys_of(FileForm))}"),
            ]
        )
    file = _mapping(tree, (), FileForm)
    for key, word in (("apiVersion", "millrace/v1"), ("kind", "Pipeline")):
        if file.get(key, word) != word:
            tree.problems.append(tree.problem((key,), *not_one_of(file[key], [word])))
    spec = _mapping(tree, ("spec",), SpecForm)
    return Draft(
        metadata=_section(tree, file, ("metadata",), MetadataForm),
        source=_section(tree, spec, ("spec", "source"), SourceForm),
        event=_section(tree, spec, ("spec", "event"), EventForm),
        fields=_fields(tree, spec.get("fields")),
        features=_items(tree, spec, "features", FeatureForm),
        label=_section(tree, spec, ("spec", "label"), LabelForm),
        model=_section(tree, spec, ("spec", "model"), ModelForm),
        gates=_items(tree, spec, "gates", GateForm),
        promotion=_section(tree, spec, ("spec", "promotion"), PromotionForm),
        monitoring=_section(tree, spec, ("spec", "monitoring"), MonitoringForm),
        retraining=_section(tree, spec, ("spec", "retraining"), RetrainingForm),
        serving=_section(tree, spec, ("spec", "serving"), ServingForm),
        training=_section(tree, spec, ("spec", "training"), TrainingForm),
    )


def _mapping(tree: Tree, path: Path, form: type[Form]) -> dict[str, object]:
    """The mapping at the path, less the keys that have no meaning there; {} if it is none."""
    value = tree.at(path)
    keys = keys_of(form)
    if not isinstance(value, dict):
        what = "has no value" if value is None else f"{shown(value)} is not a mapping"
        if value is not None or tree.has(path):
            tree.problems.append(tree.problem(path, what, f"write the keys {', '.join(keys)}"))
        return {}
    for key in value.keys() - keys.keys():
        tree.problems.append(tree.problem((*path, key), *unknown_key(key, list(keys))))
    for key, info in keys.items():
        if info.is_required() and key not in value:
            tree.problems.append(tree.problem((*path, key), *missing_key(key, info)))
    return {key: item for key, item in value.items() if key in keys}


def _section(tree: Tree, holder: dict[str, object], path: Path, form: type[F]) -> F | None:
    key = str(path[-1])
    if key in holder:
        return check(form, holder[key], path, tree)
    info = keys_of(FileForm if len(path) == 1 else SpecForm)[key]
    return None if info.is_required() else form()


def _fields(tree: Tree, value: object) -> dict[str, FieldForm | None]:
    path: Path = ("spec", "fields")
    if value is None and not tree.has(path):
        return {}  # already said to be missing
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_ITEMS:
        tree.problems.append(
            tree.problem(
                path,
                "is not a mapping of fields",
                "write e.g. fields: {temp: float, city: category}",
            )
        )
        return {}
    return {
        name: check(FieldForm, kind_as_mapping(form), (*path, name), tree)
        for name, form in value.items()
    }


def _items(tree: Tree, spec: dict[str, object], key: str, form: type[F]) -> dict[int, F]:
    path: Path = ("spec", key)
    value = spec.get(key, [])
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        tree.problems.append(
            tree.problem(
                path,
                "is not a list" if value is not None else "has no value",
                f"write {key}: [] or items",
            )
        )
        return {}
    checked = {index: check(form, item, (*path, index), tree) for index, item in enumerate(value)}
    return {index: item for index, item in checked.items() if item is not None}
