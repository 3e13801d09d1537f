"""Which fields and features a draft has, and how they stand in the vector."""

from collections.abc import Iterator

from millrace_contracts.pipeline_file.draft import Draft
from millrace_contracts.pipeline_file.forms import FieldForm
from millrace_contracts.pipeline_file.problems import Path
from millrace_kernel.pipeline import FieldKind, VectorKind

Complaint = tuple[Path, str, str]  # where, what, fix

FEATURE_KINDS = ("float", "int", "bool", "category", "text")
_VECTOR_KINDS = {"category": VectorKind.CATEGORY, "text": VectorKind.TEXT}


def is_feature(field: FieldForm) -> bool:
    """Whether the field itself is a column of the vector."""
    return field.type in FEATURE_KINDS and field.feature is not False


def field_kinds(draft: Draft) -> dict[str, FieldKind] | None:
    """The kinds of all fields; None unless all of them are known."""
    kinds = {name: FieldKind(field.type) for name, field in draft.fields.items() if field}
    return kinds if kinds and len(kinds) == len(draft.fields) else None


def feature_kinds(draft: Draft) -> dict[str, VectorKind]:
    """How each feature stands in the vector, in the vector's order. What is computed is a number."""
    kinds: dict[str, VectorKind] = {}
    for name, field in draft.fields.items():
        if field and is_feature(field):
            kinds[name] = _VECTOR_KINDS.get(field.type, VectorKind.NUMBER)
    for feature in draft.features.values():
        kinds.setdefault(feature.name, VectorKind.NUMBER)
    return kinds


def nothing_to_learn(draft: Draft) -> Iterator[Complaint]:
    """A file without a feature, or with none that a model may look at."""
    fields, features = draft.fields.values(), draft.features.values()
    is_any = any(field is None or is_feature(field) for field in fields)
    if draft.fields and not draft.features and not is_any:
        yield (
            ("spec", "fields"),
            "none of the fields is a feature",
            "add a field of kind float, int, bool, category or text, or list a feature",
        )
    elif draft.fields and not (
        any(field is None or (is_feature(field) and field.learn) for field in fields)
        or any(feature.learn for feature in features)
    ):
        yield (
            ("spec", "fields"),
            "no feature is there to learn from: all of them say learn: false",
            "let models learn from one of them, or add one",
        )
