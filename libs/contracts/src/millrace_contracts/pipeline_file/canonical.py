"""A pipeline as the file that would be read as it, with every default written out: what travels, what is digested."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from millrace_contracts.pipeline_file.tree import yaml_of
from millrace_kernel.pipeline import (
    Feature,
    Field,
    Gate,
    GateKind,
    Pipeline,
    Promotion,
    Serving,
    Strategy,
    TextReading,
    Training,
    Trigger,
)
from millrace_kernel.time import format_duration


def pipeline_to_json(pipeline: Pipeline) -> str:
    """Canonical JSON: sorted keys, no spaces, every default written out, the version in `metadata.version`.

    Only `spec.fields` keeps the file's order: it is the order of the vector's columns.
    """
    return json.dumps(
        _sorted(_file(pipeline)), separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def pipeline_to_yaml(pipeline: Pipeline) -> str:
    """The same as a person would rather read it; `read_pipeline` gives the pipeline back."""
    return yaml_of(_file(pipeline))


def pipeline_digest(pipeline: Pipeline) -> str:
    """SHA-256 of what the file says, whatever version it was counted as: equal files have the equal digest."""
    return hashlib.sha256(pipeline_to_json(replace(pipeline, version=0)).encode()).hexdigest()


def _sorted(value: object, key: str = "") -> object:
    match value:
        case dict():
            return {
                name: _sorted(value[name], name)
                for name in (value if key == "fields" else sorted(value))
            }
        case list():
            return [_sorted(item) for item in value]
        case _:
            return value


def _file(pipeline: Pipeline) -> dict[str, Any]:
    metadata = {
        "name": pipeline.name,
        "owner": pipeline.owner,
        "description": pipeline.description,
        "version": pipeline.version,
    }
    return {
        "apiVersion": "millrace/v1",
        "kind": "Pipeline",
        "metadata": metadata,
        "spec": _spec(pipeline),
    }


def _spec(pipeline: Pipeline) -> dict[str, Any]:
    unlearnt = pipeline.unlearnt
    own = {feature.field for feature in pipeline.features if feature.field is not None}
    return {
        "source": {"topic": pipeline.topic},
        "event": _present(
            id=pipeline.event.id,
            time=pipeline.event.time,
            entity=pipeline.event.entity,
            lateness=format_duration(pipeline.event.lateness),
            max_ahead=format_duration(pipeline.event.max_ahead),
        ),
        "fields": {
            field.name: _field(field, field.name in own, field.name not in unlearnt)
            for field in pipeline.fields
        },
        "features": [_feature(feature) for feature in pipeline.features if feature.field is None],
        "label": _label(pipeline),
        "model": _model(pipeline),
        "gates": [_gate(gate) for gate in pipeline.gates],
        "promotion": _promotion(pipeline.promotion),
        "monitoring": _monitoring(pipeline),
        "retraining": _retraining(pipeline),
        **_serving(pipeline.serving),
        **_training(pipeline.training),
    }


def _present(**keys: object) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _field(field: Field, is_feature: bool, learn: bool) -> dict[str, Any]:
    named: dict[str, Any] = {
        "type": field.kind.value,
        "required": field.required,
        "feature": is_feature,
    }
    if field.max_bytes is not None:
        named["max_bytes"] = field.max_bytes
    return named if learn else named | {"learn": False}


def _feature(feature: Feature) -> dict[str, Any]:
    return _present(
        name=feature.name,
        expr=feature.expression,
        agg=feature.function.value if feature.function else None,
        of=feature.of,
        window=format_duration(feature.window) if feature.window is not None else None,
        learn=None if feature.learn else False,
    )


def _label(pipeline: Pipeline) -> dict[str, Any]:
    label = pipeline.label
    return _present(
        field=label.field,
        kind=label.kind.value,
        delay=format_duration(label.delay),
        maturity=format_duration(label.maturity),
        topic=label.topic,
        positive=label.positive,
    )


def _model(pipeline: Pipeline) -> dict[str, Any]:
    model = pipeline.model
    return _present(
        candidates=list(model.candidates),
        train_on={"last": model.train_on_last, "first": model.first_after},
        holdout={"last": model.holdout_last},
        search={"trials": model.trials, "timeout": format_duration(model.timeout)},
        fallback=model.fallback,
        seed=model.seed,
        # none of them is written where it is not asked for: the digests of other files stay what they were
        balance=model.balance or None,
        calibration=model.calibration,
        quantiles=list(model.quantiles) or None,
        interval=model.interval,
        parameters={name: dict(given) for name, given in model.parameters} or None,
        text=_text(model.text) if pipeline.texts or model.text != TextReading() else None,
    )


def _text(reading: TextReading) -> dict[str, Any]:
    if reading.encoder is not None:
        return {"encoder": reading.encoder}
    return {
        "words": list(reading.words),
        "characters": list(reading.characters),
        "buckets": reading.buckets,
    }


def _gate(gate: Gate) -> dict[str, Any]:
    match gate.kind:
        case GateKind.SCHEMA:
            return {"schema": "match"}
        case GateKind.FAIRNESS:
            bounds = _present(max=gate.max, min=gate.min)
            return {"fairness": {"by": gate.by, "measure": gate.metric, "rows": gate.rows} | bounds}
        case GateKind.SLICE:
            worst = gate.max if gate.min is None else gate.min
            named = {"by": gate.by, "metric": gate.metric, "worst": worst, "rows": gate.rows}
            return {"slice": named}
        case _:
            return _present(
                metric=gate.metric,
                max=gate.max,
                min=gate.min,
                better_than=gate.better_than,
                confidence=gate.confidence,
            )


def _promotion(promotion: Promotion) -> dict[str, Any]:
    """Only what its strategy looks at: the digests of other files stay what they were."""
    always = {"strategy": promotion.strategy.value, "min_labels": promotion.min_labels}
    if not promotion.compares:
        return always
    is_canary = promotion.strategy is Strategy.CANARY
    return always | _present(
        max_labels=promotion.max_labels,
        confidence=promotion.confidence,
        shadow_from=format_duration(promotion.shadow_from) if promotion.shadow_from else None,
        steps=list(promotion.steps) if is_canary else None,
        limits={
            "latency": format_duration(promotion.max_latency),
            "errors": promotion.max_errors,
        },
    )


def _monitoring(pipeline: Pipeline) -> dict[str, Any]:
    monitoring = pipeline.monitoring
    return {
        "window": monitoring.window,
        "data_drift": {
            "method": monitoring.data_drift_method,
            "threshold": monitoring.data_drift_threshold,
        },
        "prediction_drift": {"threshold": monitoring.prediction_drift_threshold},
        "concept_drift": {
            "detector": monitoring.concept_drift_detector,
            "delta": monitoring.concept_drift_delta,
        },
        "performance": {"tolerance": monitoring.performance_tolerance},
    }


def _serving(serving: Serving) -> dict[str, Any]:
    """Only what is not the default: the digests of files from before this section stay what they were."""
    if serving == Serving():
        return {}
    return {"serving": {"stale_after": format_duration(serving.stale_after)}}


def _training(training: Training) -> dict[str, Any]:
    """As `_serving`."""
    return {} if training == Training() else {"training": _present(cluster=training.cluster)}


def _retraining(pipeline: Pipeline) -> dict[str, Any]:
    retraining = pipeline.retraining
    return _present(
        on=[trigger.value for trigger in Trigger if trigger in retraining.on],
        schedule=retraining.schedule,
        volume=retraining.volume if Trigger.VOLUME in retraining.on else None,
        update=retraining.update if Trigger.UPDATE in retraining.on else None,
        cooldown=format_duration(retraining.cooldown),
        budget=_present(
            runs_per_day=retraining.runs_per_day,
            cpu_minutes_per_day=retraining.cpu_minutes_per_day,
            money_per_day=retraining.money_per_day,
        ),
    )
