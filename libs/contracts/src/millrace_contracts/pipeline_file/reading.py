"""From the text of a pipeline file to the pipeline that every service works with."""

from typing import Any, TypeVar

from millrace_contracts.pipeline_file.basic_forms import Form
from millrace_contracts.pipeline_file.draft import Draft, draft_of
from millrace_contracts.pipeline_file.feature_rules import feature_kinds, is_feature
from millrace_contracts.pipeline_file.forms import (
    FeatureForm,
    FieldForm,
    FileForm,
    LabelForm,
    LimitsForm,
    ModelForm,
    PromotionForm,
    RetrainingForm,
)
from millrace_contracts.pipeline_file.gate_forms import GateForm
from millrace_contracts.pipeline_file.problems import PipelineFileError
from millrace_contracts.pipeline_file.rules import complaints
from millrace_contracts.pipeline_file.text_rules import IN_WORDS
from millrace_contracts.pipeline_file.tree import Tree, tree_of_json, tree_of_yaml
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import (
    LOWER_IS_BETTER,
    SCHEMA,
    AggregateFunction,
    EventShape,
    Feature,
    Field,
    FieldKind,
    Gate,
    Label,
    LabelKind,
    Model,
    Monitoring,
    Pipeline,
    Promotion,
    Retraining,
    Serving,
    Strategy,
    TextReading,
    Training,
    Trigger,
    VectorKind,
)
from millrace_kernel.time import Duration

F = TypeVar("F", bound=Form)

DEFAULT_CONFIDENCE = 0.95
DEFAULT_TEXT_BYTES = 8_192
DEFAULT_VOLUME, DEFAULT_UPDATE = 1.0, 0.125  # shares of the rows that a run learns from


def read_pipeline(text: str, *, version: int = 0) -> Pipeline:
    """Read a pipeline file, YAML or JSON. Raises PipelineFileError with every problem found, and nothing else.

    A `metadata.version` in the file is what the platform once wrote there: it is ignored, `version` counts.
    """
    return _pipeline(tree_of_yaml(text), version)


def pipeline_from_json(text: str) -> Pipeline:
    """Read what `pipeline_to_json` wrote, with the version it says. Raises PipelineFileError."""
    return _pipeline(tree_of_json(text), None)


def pipeline_schema() -> dict[str, Any]:
    """The file's JSON Schema, for editors. Rules between sections are not in it; `read_pipeline` keeps them."""
    schema = FileForm.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Millrace pipeline",
    }


def _pipeline(tree: Tree, version: int | None) -> Pipeline:
    draft = draft_of(tree)
    tree.problems.extend(tree.problem(path, what, fix) for path, what, fix in complaints(draft))
    if tree.problems:
        raise PipelineFileError(tree.problems)
    return _built(draft, version)


def _built(draft: Draft, version: int | None) -> Pipeline:
    """The pipeline of a draft without problems."""
    metadata, source, event = _read(draft.metadata), _read(draft.source), _read(draft.event)
    promotion, monitoring = _read(draft.promotion), _read(draft.monitoring)
    return Pipeline(
        name=PipelineName(metadata.name),
        version=metadata.version if version is None else version,
        owner=metadata.owner,
        description=metadata.description,
        topic=source.topic or f"millrace.raw.{metadata.name}",
        event=EventShape(
            event.id, event.time, event.entity, Duration(event.lateness), Duration(event.max_ahead)
        ),
        fields=tuple(_field(name, form) for name, form in draft.fields.items() if form),
        features=_features(draft),
        label=_label(_read(draft.label)),
        model=_model(_read(draft.model), _read(draft.label)),
        gates=tuple(_gate(gate) for gate in draft.gates.values()),
        promotion=_promotion(promotion),
        monitoring=Monitoring(
            window=monitoring.window,
            data_drift_method=monitoring.data_drift.method,
            data_drift_threshold=monitoring.data_drift.threshold,
            prediction_drift_threshold=monitoring.prediction_drift.threshold,
            concept_drift_detector=monitoring.concept_drift.detector,
            concept_drift_delta=monitoring.concept_drift.delta,
            performance_tolerance=monitoring.performance.tolerance,
        ),
        retraining=_retraining(_read(draft.retraining)),
        serving=Serving(Duration(_read(draft.serving).stale_after)),
        training=Training(_read(draft.training).cluster),
    )


def _read(section: F | None) -> F:
    assert section is not None, "a section that could not be read has left a problem"
    return section


def _field(name: str, form: FieldForm) -> Field:
    longest = form.max_bytes or DEFAULT_TEXT_BYTES if form.type == "text" else None
    return Field(name, FieldKind(form.type), form.required, longest)


def _features(draft: Draft) -> tuple[Feature, ...]:
    """Fields that are features by themselves first, then those listed."""
    kinds = feature_kinds(draft)
    own = [name for name, form in draft.fields.items() if form and is_feature(form)]
    fields = tuple(
        Feature(name, kinds[name], field=name, learn=_learns(draft, name)) for name in own
    )
    return fields + tuple(_feature(form, kinds[form.name]) for form in draft.features.values())


def _learns(draft: Draft, name: str) -> bool:
    form = draft.fields[name]
    return form is None or form.learn


def _feature(form: FeatureForm, kind: VectorKind) -> Feature:
    if form.expr is not None:
        return Feature(form.name, kind, expression=form.expr, learn=form.learn)
    window = Duration(form.window) if form.window is not None else None
    function = AggregateFunction(form.agg or "")
    return Feature(form.name, kind, function=function, of=form.of, window=window, learn=form.learn)


def _label(form: LabelForm) -> Label:
    maturity = form.delay if form.maturity is None else form.maturity
    return Label(
        form.field,
        LabelKind(form.kind),
        Duration(form.delay),
        Duration(maturity),
        form.topic,
        form.positive,
    )


def _model(form: ModelForm, label: LabelForm) -> Model:
    in_words = label.kind == "text" and "candidates" not in form.model_fields_set
    return Model(
        candidates=(IN_WORDS,) if in_words else tuple(form.candidates),
        train_on_last=form.train_on.last,
        first_after=form.train_on.first,
        holdout_last=form.holdout.last,
        fallback=form.fallback,
        trials=form.search.trials,
        timeout=Duration(form.search.timeout),
        seed=form.seed,
        balance=form.balance,
        calibration=None if form.calibration == "none" else form.calibration,
        quantiles=tuple(form.quantiles or ()),
        interval=form.interval,
        parameters=tuple(
            (name, tuple(sorted(form.parameters[name].items()))) for name in sorted(form.parameters)
        ),
        text=TextReading(
            tuple(form.text.words),
            tuple(form.text.characters),
            form.text.buckets,
            form.text.encoder,
        ),
    )


def _gate(form: GateForm) -> Gate:
    if form.schema_ is not None:
        return Gate(SCHEMA)
    if (fair := form.fairness) is not None:
        return Gate(fair.measure, fair.max, fair.min, by=fair.by, rows=fair.rows)
    if (part := form.slice) is not None:
        at_most = part.metric in LOWER_IS_BETTER
        highest, lowest = (part.worst, None) if at_most else (None, part.worst)
        return Gate(part.metric, highest, lowest, by=part.by, rows=part.rows)
    confidence = (
        DEFAULT_CONFIDENCE if form.better_than and form.confidence is None else form.confidence
    )
    return Gate(form.metric or "", form.max, form.min, form.better_than, confidence)


def _promotion(form: PromotionForm) -> Promotion:
    """What is left out is as the kernel has it."""
    limits = form.limits or LimitsForm()
    given = {
        "max_labels": form.max_labels,
        "confidence": form.confidence,
        "shadow_from": form.shadow_from and Duration(form.shadow_from),
        "steps": form.steps and tuple(form.steps),
        "max_latency": limits.latency and Duration(limits.latency),
        "max_errors": limits.errors,
    }
    written: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Promotion(Strategy(form.strategy), form.min_labels, **written)


def _retraining(form: RetrainingForm) -> Retraining:
    """Without `on`, a schedule that is written is also followed."""
    scheduled = ["schedule"] if form.schedule is not None else []
    on = ["drift", "performance", *scheduled] if form.on is None else form.on
    return Retraining(
        on=frozenset(Trigger(word) for word in on),
        schedule=form.schedule,
        cooldown=Duration(form.cooldown),
        runs_per_day=form.budget.runs_per_day,
        cpu_minutes_per_day=form.budget.cpu_minutes_per_day,
        money_per_day=form.budget.money_per_day,
        volume=DEFAULT_VOLUME if form.volume is None else form.volume,
        update=DEFAULT_UPDATE if form.update is None else form.update,
    )
