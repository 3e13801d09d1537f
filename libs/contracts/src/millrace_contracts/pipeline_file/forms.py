"""The pipeline file's shape, section by section: keys, types, bounds and defaults. What one section says about another
is checked in `reading`. The JSON Schema for editors comes from here too."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from millrace_contracts.pipeline_file.basic_forms import Form, Text
from millrace_contracts.pipeline_file.cluster_forms import TrainingForm
from millrace_contracts.pipeline_file.gate_forms import GateForm
from millrace_contracts.pipeline_file.problems import not_one_of
from millrace_contracts.pipeline_file.text_forms import LONGEST_TEXT_BYTES, TextForm
from millrace_kernel.pipeline import FieldKind, takes_parameters
from millrace_kernel.time import DAY, HOUR, MINUTE, Duration, format_duration, parse_duration

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
PIPELINE_NAME = r"[a-z][a-z0-9-]{0,62}"
TOPIC = r"[a-zA-Z0-9._-]{1,249}"
LONGEST = Duration(36_500 * DAY)


def _duration(value: object) -> object:
    if type(value) is int:
        raise ValueError(
            f"{value} has no unit; write e.g. {value}s, {value}m, {value}h or {value}d"
        )
    if not isinstance(value, str):
        return value
    if len(value) > 40 or (duration := parse_duration(value)) > LONGEST:
        raise ValueError(f"is too long; write at most {format_duration(LONGEST)}")
    return duration


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*(\d+(us|ms|s|m|h|d|w))+\s*$",
    "examples": ["90s", "1h30m", "7d"],
}
Span = Annotated[int, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveSpan = Annotated[
    int, BeforeValidator(_duration), Field(ge=1), WithJsonSchema(_DURATION_SCHEMA)
]
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$", max_length=200)]
Topic = Annotated[str, StringConstraints(pattern=f"^{TOPIC}$")]

FieldWord = Literal["float", "int", "bool", "string", "category", "text", "timestamp"]
AggregateWord = Literal["count", "sum", "mean", "min", "max", "std", "last"]
LabelWord = Literal["binary", "multiclass", "regression", "text"]
CANDIDATE_WORDS = (
    "xgboost",
    "linear",
    "logistic",
    "random_forest",
    "hist_gradient_boosting",
    "k_nearest",
    "online_linear",
    "online_logistic",
    "retrieval",
)
_IMPORT_PATH = rf"{NAME}(\.{NAME})+"
_COMMAND = rf"command:{NAME}"
StrategyWord = Literal["direct", "manual", "shadow", "canary"]
TriggerWord = Literal["drift", "performance", "schedule", "volume", "update"]


class MetadataForm(Form):
    name: Annotated[str, StringConstraints(pattern=f"^{PIPELINE_NAME}$")] = Field(
        examples=["bikes"]
    )
    owner: Annotated[str, StringConstraints(max_length=200)] = ""
    description: Annotated[str, StringConstraints(max_length=10_000)] = ""
    version: int = Field(
        default=0, ge=0, description="What the platform counted; ignored when a file is applied."
    )


class SourceForm(Form):
    topic: Topic | None = Field(
        default=None, description="Where the events come from; millrace.raw.<name> if left out."
    )


class EventForm(Form):
    id: Text = Field(examples=["id"], description="The key of the event's id in its JSON.")
    time: Text = Field(examples=["timestamp"], description="The key of the event's time.")
    entity: Text | None = Field(
        default=None,
        description="The key of what it happened to; none: all events are of one entity.",
    )
    lateness: Span = Field(
        default=HOUR, description="How far behind its entity's newest event one may arrive."
    )
    max_ahead: Span = Field(
        default=Duration(5 * MINUTE),
        description="How far ahead of the clock an event's time may be.",
    )


class FieldForm(Form):
    type: FieldWord = Field(examples=["float"])
    required: bool = True
    feature: bool | None = Field(default=None, description="Whether the field itself is a feature.")
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST_TEXT_BYTES,
        examples=[2000],
        description="Text only: the longest that is taken, in bytes of UTF-8; 8192 if left out.",
    )
    learn: bool = Field(
        default=True,
        description="false: a feature that no model looks at, for slices and fairness to part rows by.",
    )

    @override
    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Either the kind alone or the mapping."""
        return {"anyOf": [{"enum": [kind.value for kind in FieldKind]}, handler(schema)]}


class FeatureForm(Form):
    name: Name = Field(examples=["temp_mean_24h"])
    expr: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        default=None, examples=["temp * 2"]
    )
    agg: AggregateWord | None = Field(default=None, examples=["mean"])
    of: Text | None = Field(default=None, description="A numeric field, or `label`.")
    window: PositiveSpan | None = None
    learn: bool = Field(
        default=True, description="false: no model looks at it; slices and fairness may."
    )


class LabelForm(Form):
    field: Text = Field(examples=["cnt"])
    kind: LabelWord = Field(examples=["regression"])
    delay: Span = Field(
        default=Duration(0), description="How long after the event the truth is known."
    )
    maturity: Span | None = Field(
        default=None, description="How long until it is no longer corrected; the delay if left out."
    )
    topic: Topic | None = Field(default=None, description="A topic of labels alone.")
    positive: Text | None = Field(default=None, description="Binary only: the text that means 1.")


class TrainOnForm(Form):
    last: int = Field(default=20_000, ge=1, le=100_000_000)
    first: int = Field(
        default=1000, ge=1, le=100_000_000, description="Labelled rows the first model waits for."
    )


class HoldoutForm(Form):
    last: int = Field(default=1000, ge=1, le=100_000_000)


class SearchForm(Form):
    trials: int = Field(default=1, ge=1, le=10_000)
    timeout: PositiveSpan = MINUTE


def _fallback(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError("is neither a feature's name nor a number; write one of the two")  # noqa: TRY004
    return float(value) if isinstance(value, int | float) else value


def _candidate(value: object) -> object:
    if value in CANDIDATE_WORDS or (isinstance(value, str) and takes_parameters(value)):
        return value
    raise ValueError("; ".join(not_one_of(value, CANDIDATE_WORDS)))


def _parameters(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("is not a mapping; write a candidate's name and its parameters")  # noqa: TRY004
    for name, given in value.items():
        if not isinstance(name, str) or not isinstance(given, dict):
            raise ValueError(f"{name!r} is not given a mapping; write e.g. {{n_estimators: 200}}")  # noqa: TRY004
        for key, each in given.items():
            if not isinstance(key, str) or not isinstance(each, bool | int | float | str | None):
                what = f"{key!r} of {name} is neither a number, a text, true, false nor null"
                raise ValueError(f"{what}; write one of them")  # noqa: TRY004
    return value


_PARAMETERS_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {"type": ["boolean", "number", "string", "null"]},
    },
}
_CANDIDATE_SCHEMA = {
    "anyOf": [
        {"enum": list(CANDIDATE_WORDS)},
        {"pattern": f"^{_IMPORT_PATH}$"},
        {"pattern": f"^{_COMMAND}$"},
    ]
}
Candidate = Annotated[
    str,
    BeforeValidator(_candidate),
    StringConstraints(max_length=200, pattern=f"^({NAME}|{_IMPORT_PATH}|{_COMMAND})$"),
    WithJsonSchema({"type": "string"} | _CANDIDATE_SCHEMA),
]


class ModelForm(Form):
    candidates: list[Candidate] = Field(
        default=["xgboost"],
        min_length=1,
        description="Kinds of model, scikit-learn estimators by import path, or commands that training allows.",
    )
    train_on: TrainOnForm = TrainOnForm()
    holdout: HoldoutForm = HoldoutForm()
    search: SearchForm = SearchForm()
    fallback: Annotated[
        Any,
        BeforeValidator(_fallback),
        WithJsonSchema({"type": ["string", "number", "null"]}),
    ] = Field(
        default=None,
        description="What answers before the first champion: a feature's name or a number.",
    )
    seed: int = Field(default=0, ge=0, lt=2**31)
    balance: bool = Field(
        default=False, description="Classes: rare ones weigh as much as frequent ones."
    )
    calibration: Literal["none", "isotonic", "platt"] | None = Field(
        default=None, description="Classes: how probabilities are made to mean what they say."
    )
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        default=None,
        min_length=2,
        max_length=20,
        examples=["[0.1, 0.5, 0.9]"],
        description="Regression: answered beside the value, which is the one of 0.5.",
    )
    interval: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        examples=[0.9],
        description="Regression: an interval that holds this share of the truths.",
    )
    parameters: Annotated[Any, BeforeValidator(_parameters), WithJsonSchema(_PARAMETERS_SCHEMA)] = (
        Field(default={}, description="What candidates of one's own are made with.")
    )
    text: TextForm = TextForm()


class LimitsForm(Form):
    latency: PositiveSpan | None = Field(
        default=None, description="Mean time of scoring one event; 100ms if left out."
    )
    errors: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of events without an answer, above the champion's; 0.01 if left out.",
    )


class PromotionForm(Form):
    """All but the first two keys is for shadow and canary."""

    strategy: StrategyWord = "direct"
    min_labels: int = Field(default=200, ge=0)
    max_labels: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Without proof by then, a challenger is turned down; 10000 if left out.",
    )
    confidence: float | None = Field(
        default=None, gt=0.5, lt=1, description="Of the proof; 0.99 if left out."
    )
    shadow_from: PositiveSpan | None = Field(
        default=None,
        examples=["7d"],
        description="Shadow: how far back a challenger begins to score the stream.",
    )
    steps: list[Annotated[float, Field(ge=0.01, le=100)]] | None = Field(
        default=None,
        min_length=2,
        max_length=20,
        description="Canary: per cent of the entities, growing to 100; [1, 5, 25, 100] if left out.",
    )
    limits: LimitsForm | None = None


class DataDriftForm(Form):
    method: Literal["psi"] = "psi"
    threshold: float = Field(default=0.2, gt=0)


class PredictionDriftForm(Form):
    threshold: float = Field(default=0.2, gt=0)


class ConceptDriftForm(Form):
    detector: Literal["adwin"] = "adwin"
    delta: float = Field(default=0.002, gt=0, lt=1)


class PerformanceForm(Form):
    tolerance: float = Field(default=0.25, ge=0)


class MonitoringForm(Form):
    window: int = Field(default=500, ge=10, le=1_000_000, description="Events.")
    data_drift: DataDriftForm = DataDriftForm()
    prediction_drift: PredictionDriftForm = PredictionDriftForm()
    concept_drift: ConceptDriftForm = ConceptDriftForm()
    performance: PerformanceForm = PerformanceForm()


class BudgetForm(Form):
    runs_per_day: int = Field(default=24, ge=0)
    cpu_minutes_per_day: float = Field(default=60.0, ge=0)
    money_per_day: float | None = Field(
        default=None,
        ge=0,
        examples=[5],
        description="In the currency of training's prices; a run that would go beyond is not started.",
    )


class RetrainingForm(Form):
    on: list[TriggerWord] | None = Field(
        default=None, description="drift and performance, and schedule where there is one."
    )
    schedule: str | None = Field(
        default=None,
        examples=["0 3 * * *", "H 3 * * *"],
        description="Five cron fields, in UTC. H is some time within the field, another one for each pipeline.",
    )
    volume: float | None = Field(
        default=None,
        ge=0.05,
        le=100,
        description="With volume: new labels before a full run, as a share of the rows that it learns from; 1 if left out.",
    )
    update: float | None = Field(
        default=None,
        ge=0.01,
        le=100,
        description="With update: new labels before the champion gets some trees more, as such a share; 0.125 if left out.",
    )
    cooldown: Span = HOUR
    budget: BudgetForm = BudgetForm()


class ServingForm(Form):
    stale_after: PositiveSpan = Field(
        default=DAY,
        examples=["24h"],
        description="Answers by entity: from which age on its newest vector is told to be stale.",
    )


def kind_as_mapping(value: object) -> object:
    """`temp: float` is short for `temp: {type: float}`."""
    return {"type": value} if isinstance(value, str) else value


class SpecForm(Form):
    source: SourceForm = SourceForm()
    event: EventForm = Field(examples=["{id: id, time: timestamp}"])
    fields_: dict[str, FieldForm] = Field(alias="fields", min_length=1, examples=["{temp: float}"])
    features: list[FeatureForm] = Field(default=[])
    label: LabelForm = Field(examples=["{field: cnt, kind: regression}"])
    model: ModelForm = ModelForm()
    gates: list[GateForm] = Field(default=[])
    promotion: PromotionForm = PromotionForm()
    monitoring: MonitoringForm = MonitoringForm()
    retraining: RetrainingForm = RetrainingForm()
    serving: ServingForm = ServingForm()
    training: TrainingForm = TrainingForm()


class FileForm(Form):
    api_version: Literal["millrace/v1"] = Field(default="millrace/v1", alias="apiVersion")
    kind: Literal["Pipeline"] = "Pipeline"
    metadata: MetadataForm = Field(examples=["{name: bikes}"])
    spec: SpecForm
