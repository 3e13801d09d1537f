"""What one section of the file demands of another. Each rule looks only at sections that were read, so that one mistake is
reported once."""

import re
from collections.abc import Iterator
from itertools import pairwise

from croniter import croniter

from millrace_contracts.pipeline_file.cluster_rules import cluster_complaints
from millrace_contracts.pipeline_file.draft import Draft
from millrace_contracts.pipeline_file.expressions import wrong_with
from millrace_contracts.pipeline_file.feature_rules import (
    FEATURE_KINDS,
    feature_kinds,
    field_kinds,
    is_feature,
    nothing_to_learn,
)
from millrace_contracts.pipeline_file.forms import (
    NAME,
    FeatureForm,
    LabelForm,
    PromotionForm,
    RetrainingForm,
)
from millrace_contracts.pipeline_file.gate_rules import Complaint, answered, wrong_with_gate
from millrace_contracts.pipeline_file.model_rules import options_complaints
from millrace_contracts.pipeline_file.problems import Path, did_you_mean, listed, not_one_of, shown
from millrace_contracts.pipeline_file.text_rules import IN_WORDS, text_complaints, words_complaints
from millrace_kernel.pipeline import LABEL, VectorKind, takes_parameters
from millrace_kernel.schedules import spread

CANDIDATES: dict[str, tuple[str, ...]] = {
    kind: (
        "xgboost",
        straight,
        "random_forest",
        "hist_gradient_boosting",
        "k_nearest",
        f"online_{straight}",
    )
    for kind, straight in (
        ("regression", "linear"),
        ("binary", "logistic"),
        ("multiclass", "logistic"),
    )
}
CANDIDATES["text"] = (IN_WORDS,)
NUMERIC_KINDS = ("float", "int", "bool", "timestamp")


def complaints(draft: Draft) -> Iterator[Complaint]:
    """Everything that is wrong between sections."""
    yield from _topics(draft)
    yield from _fields(draft)
    yield from _features(draft)
    yield from _retraining(draft)
    if draft.promotion:
        yield from _promotion(draft.promotion)
    if draft.training and draft.training.cluster:
        yield from cluster_complaints(draft.training.cluster, draft, feature_kinds(draft))
    if draft.label:
        yield from _label(draft, draft.label)
        yield from _model(draft, draft.label)
        kinds = feature_kinds(draft)
        parting = tuple(name for name, kind in kinds.items() if kind is not VectorKind.TEXT)
        columns = parting if field_kinds(draft) is not None else None
        for index, gate in draft.gates.items():
            path = ("spec", "gates", index)
            yield from wrong_with_gate(
                path, gate, draft.label.kind, columns, draft.fields, answered(draft.model)
            )


def _topics(draft: Draft) -> Iterator[Complaint]:
    source = draft.source.topic if draft.source else None
    label = draft.label.topic if draft.label else None
    for path, topic in ((("spec", "source", "topic"), source), (("spec", "label", "topic"), label)):
        if topic and topic.startswith("millrace.") and not topic.startswith("millrace.raw."):
            yield (
                path,
                f"{topic} is one of Millrace's own topics",
                "write millrace.raw.<name> or a topic of yours",
            )
    own = f"millrace.raw.{draft.metadata.name}" if draft.metadata else None
    if label and label == (source or own):
        yield (
            ("spec", "label", "topic"),
            f"{label} is the source's topic",
            "leave the key out: labels are found in the source as well",
        )


def _fields(draft: Draft) -> Iterator[Complaint]:
    for name, field in draft.fields.items():
        path = ("spec", "fields", name)
        if not re.fullmatch(NAME, name) or len(name) > 200:
            yield (
                path,
                f"{shown(name)} is not a field's name",
                f"write one that fits {NAME}; expressions name fields",
            )
        if name == LABEL:
            yield path, f"{LABEL!r} means the label itself", "name the field otherwise"
        if field and field.feature and field.type not in FEATURE_KINDS:
            yield (
                (*path, "feature"),
                f"a {field.type} is no feature by itself",
                "leave the key out and list a feature that is computed from it",
            )
        if field and field.max_bytes is not None and field.type != "text":
            yield (
                (*path, "max_bytes"),
                f"does not go with a {field.type}",
                "remove it: it is for text",
            )
        if field and not field.learn and not is_feature(field):
            yield (
                (*path, "learn"),
                "goes with a feature only",
                "remove it: no model looks at this field",
            )
    if draft.label and draft.label.field in draft.fields:
        path = ("spec", "fields", draft.label.field)
        yield (
            path,
            "is the label's field: a feature would know the answer",
            "remove it here; spec.label.field names it",
        )


def _features(draft: Draft) -> Iterator[Complaint]:
    seen: dict[str, int] = {}
    for index, feature in draft.features.items():
        path: Path = ("spec", "features", index)
        if feature.name in draft.fields:
            yield (
                (*path, "name"),
                f"{feature.name!r} is a field's name",
                f"the field is a feature already; name this one otherwise, e.g. {feature.name}_2",
            )
        if feature.name in seen:
            yield (
                (*path, "name"),
                f"{feature.name!r} is also the name of spec.features[{seen[feature.name]}]",
                "name one of them otherwise",
            )
        seen.setdefault(feature.name, index)
        yield from (
            _expression(path, feature, draft)
            if feature.expr is not None
            else _aggregate(path, feature, draft)
        )
    yield from nothing_to_learn(draft)


def _expression(path: Path, feature: FeatureForm, draft: Draft) -> Iterator[Complaint]:
    for key in ("agg", "of", "window"):
        if getattr(feature, key) is not None:
            yield (
                (*path, key),
                "does not go with expr",
                "a feature is an expression or an aggregate; keep one of the two",
            )
    wrong = wrong_with(feature.expr or "", field_kinds(draft))
    if wrong:
        yield (*path, "expr"), *wrong


def _aggregate(path: Path, feature: FeatureForm, draft: Draft) -> Iterator[Complaint]:
    if feature.agg is None:
        yield (
            path,
            f"{feature.name!r} says neither expr nor agg",
            "write expr: an expression, or agg: a function with of: and window:",
        )
        return
    if feature.window is None and feature.agg != "last":
        yield (
            (*path, "window"),
            f"is missing: {feature.agg} over which time?",
            "add it, e.g. window: 24h",
        )
    if feature.agg == "count":
        if feature.of is not None:
            yield (*path, "of"), "does not go with count, which counts events", "remove it"
    elif feature.of is None:
        yield (
            (*path, "of"),
            f"is missing: {feature.agg} of what?",
            "add it: a numeric field, or label",
        )
    else:
        yield from _aggregated(path, feature.of, draft)


def _aggregated(path: Path, of: str, draft: Draft) -> Iterator[Complaint]:
    """The thing aggregated must be there and be a number."""
    where = (*path, "of")
    if of == LABEL:
        if draft.label and draft.label.kind in ("multiclass", "text"):
            what = f"the label of kind {draft.label.kind} is a text"
            yield where, what, "aggregate a numeric field"
    elif of not in draft.fields:
        known = [*draft.fields, LABEL]
        if draft.fields:
            yield (
                where,
                f"{shown(of)} is not a field",
                did_you_mean(of, known) or f"write one of {listed(known[:20])}",
            )
    else:
        field = draft.fields[of]
        if field and field.type not in NUMERIC_KINDS:
            yield (
                where,
                f"{of!r} is a {field.type}, not a number",
                f"aggregate a field of kind {listed(NUMERIC_KINDS)}, or label",
            )


def _label(draft: Draft, label: LabelForm) -> Iterator[Complaint]:
    if label.positive is not None and label.kind != "binary":
        yield (
            ("spec", "label", "positive"),
            f"does not go with kind {label.kind}",
            "remove it; it names the class that counts as 1 of binary",
        )
    if label.maturity is not None and label.maturity < label.delay:
        yield (
            ("spec", "label", "maturity"),
            "is shorter than the delay",
            "write at least the delay, or leave it out",
        )
    if draft.event and label.field in (draft.event.id, draft.event.time):
        yield (
            ("spec", "label", "field"),
            f"{label.field!r} is the event's id or time",
            "write the key of the ground truth",
        )


def _model(draft: Draft, label: LabelForm) -> Iterator[Complaint]:
    model = draft.model
    if model is None:
        return
    for index, candidate in enumerate(model.candidates):
        path: Path = ("spec", "model", "candidates", index)
        if label.kind == "text":
            break  # told of by `words_complaints`
        if candidate not in CANDIDATES[label.kind] and not takes_parameters(candidate):
            what, _ = not_one_of(candidate, CANDIDATES[label.kind])
            other = {"linear": "did you mean 'logistic'?", "logistic": "did you mean 'linear'?"}
            yield (
                path,
                f"{what} (the models for {label.kind})",
                other.get(candidate, "write one of them"),
            )
        if candidate in model.candidates[:index]:
            yield path, f"{candidate!r} is listed twice", "remove one"
    yield from options_complaints(model, label, draft.retraining)
    kinds = feature_kinds(draft)
    texts = [name for name, kind in kinds.items() if kind is VectorKind.TEXT]
    learnt = [name for name in texts if (form := draft.fields[name]) is not None and form.learn]
    known = field_kinds(draft) is not None
    yield from text_complaints(model, len(texts), draft.retraining)
    yield from words_complaints(model, label, learnt if known else None, draft.retraining)
    if model.fallback is not None:
        yield from _fallback(model.fallback, draft, label)


def _fallback(fallback: object, draft: Draft, label: LabelForm) -> Iterator[Complaint]:
    """A feature that can stand for an answer, or a number that can."""
    path = ("spec", "model", "fallback")
    if isinstance(fallback, float):
        if label.kind in ("multiclass", "text"):
            yield (
                path,
                f"{fallback} is not a class"
                if label.kind == "multiclass"
                else f"{fallback} is not a text",
                "write the name of a category feature, or leave it out",
            )
        if label.kind == "binary" and not 0 <= fallback <= 1:
            yield path, f"{fallback} is not a probability", "write a number from 0 to 1"
        return
    is_text = label.kind in ("multiclass", "text")
    wanted = VectorKind.CATEGORY if is_text else VectorKind.NUMBER
    kinds = feature_kinds(draft)
    if fallback in kinds:
        if kinds[str(fallback)] is not wanted:
            fix = f"write the name of a {wanted} feature"
            yield path, f"the feature {fallback!r} is not a {wanted}, as {label.kind} needs", fix
    elif field_kinds(draft) is not None:
        fix = did_you_mean(fallback, list(kinds)) or f"write a {wanted} feature's name or a number"
        yield path, f"{shown(fallback)} is not a feature", fix


_COMPARING = ("shadow", "canary")
_ONLY_FOR = {
    "max_labels": _COMPARING,
    "confidence": _COMPARING,
    "limits": _COMPARING,
    "shadow_from": ("shadow",),
    "steps": ("canary",),
}
_ALL = 100.0  # per cent


def _promotion(promotion: PromotionForm) -> Iterator[Complaint]:
    path = ("spec", "promotion")
    for key, strategies in _ONLY_FOR.items():
        if getattr(promotion, key) is not None and promotion.strategy not in strategies:
            words = " or ".join(strategies)
            yield (
                (*path, key),
                f"is never used with strategy {promotion.strategy}",
                f"write strategy: {words}, or remove it",
            )
    if promotion.max_labels is not None and promotion.max_labels < promotion.min_labels:
        yield (
            (*path, "max_labels"),
            f"is less than min_labels ({promotion.min_labels})",
            "write more, or lower min_labels",
        )
    steps = promotion.steps
    if steps is not None and (
        steps[-1] != _ALL or any(after <= before for before, after in pairwise(steps))
    ):
        yield (
            (*path, "steps"),
            f"{shown(steps)} does not grow to 100",
            "write per cents of the entities, each more than the one before, e.g. [1, 5, 25, 100]",
        )


def _retraining(draft: Draft) -> Iterator[Complaint]:
    retraining = draft.retraining
    if retraining is None:
        return
    path = ("spec", "retraining")
    if retraining.schedule is not None and not is_cron(retraining.schedule):
        yield (
            (*path, "schedule"),
            f"{shown(retraining.schedule)} is not five cron fields",
            'write minute hour day month weekday in UTC, e.g. "0 3 * * *"',
        )
    yield from _shares(retraining)
    if retraining.on is None:
        return
    if "schedule" in retraining.on and retraining.schedule is None:
        yield (
            (*path, "on"),
            "says schedule, and there is none",
            'add e.g. schedule: "0 3 * * *", or remove it here',
        )
    if "schedule" not in retraining.on and retraining.schedule is not None:
        yield (
            (*path, "schedule"),
            "is never used",
            "add schedule to spec.retraining.on, or remove it",
        )
    if len(set(retraining.on)) < len(retraining.on):
        yield (*path, "on"), "says one word twice", "remove one"


def _shares(retraining: RetrainingForm) -> Iterator[Complaint]:
    for word, share in (("volume", retraining.volume), ("update", retraining.update)):
        if share is not None and word not in (retraining.on or ()):
            path = ("spec", "retraining", word)
            yield path, "is never used", f"add {word} to spec.retraining.on, or remove it"


def is_cron(text: str) -> bool:
    whole = spread(text, "any")  # every H becomes a number
    by_chance = any(re.match(r"R(?![A-Z])", field, re.IGNORECASE) for field in text.split())
    return (
        len(text) <= 200
        and len(text.split()) == 5
        and not by_chance  # croniter takes an R for another time on each look
        and croniter.is_valid(whole)
    )
