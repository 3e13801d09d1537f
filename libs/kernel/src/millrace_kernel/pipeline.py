"""A pipeline: one declared use case, as every service sees it. Already validated; `millrace_contracts` reads the file."""

from dataclasses import dataclass
from enum import StrEnum

from millrace_kernel.ids import PipelineName
from millrace_kernel.time import DAY, MILLISECOND, Duration


class FieldKind(StrEnum):
    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    STRING = "string"
    CATEGORY = "category"
    TEXT = "text"  # free text: what somebody wrote
    TIMESTAMP = "timestamp"


class LabelKind(StrEnum):
    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    TEXT = "text"  # an answer in words

    @property
    def is_text(self) -> bool:
        """Whether a label is a text: the name of a class, or words."""
        return self in (LabelKind.MULTICLASS, LabelKind.TEXT)


class AggregateFunction(StrEnum):
    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    STD = "std"
    LAST = "last"


class VectorKind(StrEnum):
    """How a feature stands in the vector."""

    NUMBER = "number"  # a double; NaN means missing
    CATEGORY = "category"  # one of a few texts; "" means missing
    TEXT = (
        "text"  # free text, told apart by its words; "" means missing. Stands among the categories
    )


class Strategy(StrEnum):
    DIRECT = "direct"
    MANUAL = "manual"
    SHADOW = "shadow"
    CANARY = "canary"


class Trigger(StrEnum):
    """Why a training is asked for."""

    FIRST = "first"  # enough labels for a first model
    DRIFT = "drift"
    PERFORMANCE = "performance"
    SCHEDULE = "schedule"
    VOLUME = "volume"  # so many new labels since the last full run
    UPDATE = "update"  # a few new labels: only some trees are added to the champion's
    COMMAND = "command"


_NO_TIME, _LATENCY = Duration(0), Duration(100 * MILLISECOND)
Scalar = bool | int | float | str | None
CALIBRATIONS = ("isotonic", "platt")
MEDIAN = 0.5
LABEL = "label"  # what an aggregate's `of` says for the label itself
UPDATED = ("xgboost", "online_linear", "online_logistic")  # models that updates go on with


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: FieldKind
    required: bool = True
    max_bytes: int | None = None  # of free text, in UTF-8; None: no bound of its own

    @property
    def is_text(self) -> bool:
        return self.kind in (FieldKind.STRING, FieldKind.CATEGORY, FieldKind.TEXT)


@dataclass(frozen=True, slots=True)
class EventShape:
    """Where an event's id, time and entity stand in the user's JSON."""

    id: str
    time: str
    entity: str | None  # None: the whole pipeline is the one entity
    lateness: Duration  # how far behind the newest event of its entity one may arrive and still be counted
    max_ahead: Duration  # how far ahead of the clock an event's time may be before it is refused


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the vector: a field as it is, an expression, or an aggregate. Exactly one of the three."""

    name: str
    kind: VectorKind
    field: str | None = None
    expression: str | None = None
    function: AggregateFunction | None = None
    of: str | None = None  # a field's name or LABEL; None for `count`
    window: Duration | None = None  # None only for `last`: the newest ever seen
    learn: bool = True  # False: stored and told apart by, but no model looks at it


@dataclass(frozen=True, slots=True)
class Label:
    field: str
    kind: LabelKind
    delay: Duration  # how long after the event the truth is known
    maturity: Duration  # how long until it is no longer corrected
    topic: str | None  # a topic of labels alone; None: labels come in the source topic or over HTTP
    positive: str | None  # binary only: the text that means 1; None: true/false or 1/0


def is_import_path(candidate: str) -> bool:
    """Whether it names a class by where it is, e.g. sklearn.ensemble.ExtraTreesRegressor, and not a kind of model."""
    return "." in candidate


def command_named(candidate: str) -> str | None:
    """The name of a command of the user's own, which whoever runs training has allowed: command:NAME. None for others."""
    kind, found, name = candidate.partition(":")
    return name if found and kind == "command" else None


def takes_parameters(candidate: str) -> bool:
    """Whether the file says what it is made with: the user's own do, others are searched."""
    return is_import_path(candidate) or command_named(candidate) is not None


@dataclass(frozen=True, slots=True)
class TextReading:
    """How models read free text: its n-grams are hashed into so many columns, or a sentence encoder reads it.

    `words` and `characters` are the shortest and the longest n-gram of each kind; empty: none of that kind. `encoder` is a path
    within the folder of encoders; with it nothing is hashed.
    """

    words: tuple[int, ...] = (1, 2)
    characters: tuple[int, ...] = ()
    buckets: int = 512
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    candidates: tuple[str, ...]
    train_on_last: int
    first_after: int  # labelled rows the first model waits for
    holdout_last: int
    fallback: (
        str | float | None
    )  # what answers before the first champion: a feature's name or a constant
    trials: int
    timeout: Duration
    seed: int
    balance: bool = False  # classes: rare ones weigh as much as frequent ones
    calibration: str | None = None  # classes: one of CALIBRATIONS
    quantiles: tuple[float, ...] = ()  # regression: growing, MEDIAN among them
    interval: float | None = None  # regression: the share of truths that it holds
    # of candidates that are the user's own: what they are made with
    parameters: tuple[tuple[str, tuple[tuple[str, Scalar], ...]], ...] = ()
    text: TextReading = TextReading()


class Fairness(StrEnum):
    """How differently groups are treated, of a binary label whose 1 is what one hopes for."""

    # the largest share of a group that is answered 1, less the smallest
    DEMOGRAPHIC_PARITY = "demographic_parity"
    # the same among those of whom 1 is true (Hardt, Price and Srebro 2016)
    EQUAL_OPPORTUNITY = "equal_opportunity"
    # the smallest share of a group that is answered 1, divided by the largest: the four-fifths rule bounds it by 0.8
    DISPARATE_IMPACT = "disparate_impact"


# What a run measures of a candidate beside how good its answers are, and only where a gate names it
CHECKS = (
    "overfit",
    "noise_drop",
    "missing_drop",
    "leak",
    "latency_us",
    "artifact_bytes",
    "calibration_error",
)
SCHEMA = "schema"
# How far what is said beside the plain answer can be believed: measured wherever an answer says it, and bounded by gates
BELIEVED = ("brier", "pinball_loss", "coverage", "interval_width")
LOWER_IS_BETTER = frozenset(
    {"mae", "rmse", "log_loss", "brier", "pinball_loss", "interval_width", "calibration_error"}
)
CHAMPION, BASELINE = "champion", "baseline"


class GateKind(StrEnum):
    """What kind of check a gate is."""

    BOUND = "bound"  # of a metric over the holdout
    BETTER = "better"  # than the champion or the naive baseline, with confidence
    SLICE = "slice"  # a bound that the worst slice must keep
    FAIRNESS = "fairness"  # a bound on how differently groups are treated
    SCHEMA = (
        "schema"  # the candidate eats what the pipeline computes, and answers what its label is
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """A check that a candidate must pass. `metric` is a metric, one of CHECKS, a Fairness or SCHEMA.

    `by` names the column of the vector that parts the rows into slices or groups; those of fewer than `rows` rows don't count.
    """

    metric: str
    max: float | None = None
    min: float | None = None
    better_than: str | None = None
    confidence: float | None = None
    by: str | None = None
    rows: int = 0

    @property
    def kind(self) -> GateKind:
        if self.metric == SCHEMA:
            return GateKind.SCHEMA
        if self.better_than is not None:
            return GateKind.BETTER
        if self.by is None:
            return GateKind.BOUND
        return GateKind.FAIRNESS if self.metric in list(Fairness) else GateKind.SLICE

    @property
    def names_score(self) -> bool:
        """Whether its metric says how good plain answers are: on the holdout and, later, on live traffic."""
        return self.metric not in (*CHECKS, *BELIEVED, *Fairness, SCHEMA)


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a candidate that passed its gates becomes the champion. All but the first two is for shadow and canary alone."""

    strategy: Strategy
    min_labels: int  # labelled events that must have been compared, in each step of a canary
    max_labels: int = 10_000  # without proof by then, the challenger is turned down
    confidence: float = 0.99  # of the proof
    shadow_from: Duration = _NO_TIME  # how far before its beginning a challenger scores the stream
    # per cent of the entities; the last is the promotion
    steps: tuple[float, ...] = (1.0, 5.0, 25.0, 100.0)
    max_latency: Duration = _LATENCY  # mean time of scoring one event
    max_errors: float = 0.01  # share of events without an answer, above the champion's

    @property
    def compares(self) -> bool:
        return self.strategy in (Strategy.SHADOW, Strategy.CANARY)


@dataclass(frozen=True, slots=True)
class Monitoring:
    window: int  # events
    data_drift_method: str
    data_drift_threshold: float
    prediction_drift_threshold: float
    concept_drift_detector: str
    concept_drift_delta: float
    performance_tolerance: (
        float  # share by which the window's metric may be worse than the champion's holdout metric
    )


@dataclass(frozen=True, slots=True)
class Retraining:
    on: frozenset[Trigger]
    schedule: str | None  # five cron fields, in UTC, on the pipeline's own clock
    cooldown: Duration
    runs_per_day: int
    cpu_minutes_per_day: float
    # both as a share of the rows that a run learns from: new labels after which one is due
    volume: float = 1.0
    update: float = 0.125
    money_per_day: float | None = None  # in the currency of training's prices; None: not bounded


@dataclass(frozen=True, slots=True)
class Training:
    """Where fits run."""

    cluster: str | None = None  # a Dask scheduler that training's settings allow; None: here


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers by entity promise."""

    stale_after: Duration = DAY  # an entity's newest vector that is older is told to be stale


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The file as it applies. `version` counts the applied files of this name; everything computed names its version."""

    name: PipelineName
    version: int
    owner: str
    description: str
    topic: str
    event: EventShape
    fields: tuple[Field, ...]
    features: tuple[Feature, ...]
    label: Label
    model: Model
    gates: tuple[Gate, ...]
    promotion: Promotion
    monitoring: Monitoring
    retraining: Retraining
    serving: Serving = Serving()
    training: Training = Training()

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The vector's numeric columns, in the order in which a vector carries its values."""
        return tuple(feature for feature in self.features if feature.kind is VectorKind.NUMBER)

    @property
    def categories(self) -> tuple[Feature, ...]:
        """The vector's columns of texts, in the order in which a vector carries them: categories and free texts."""
        return tuple(feature for feature in self.features if feature.kind is not VectorKind.NUMBER)

    @property
    def texts(self) -> tuple[str, ...]:
        """Which of the categories are free text."""
        return tuple(feature.name for feature in self.features if feature.kind is VectorKind.TEXT)

    @property
    def number_fields(self) -> tuple[Field, ...]:
        """The fields an accepted event carries as numbers, in order: float, int, bool as 0/1, timestamp as seconds."""
        return tuple(field for field in self.fields if not field.is_text)

    @property
    def text_fields(self) -> tuple[Field, ...]:
        """The fields an accepted event carries as texts, in order: string, category and text."""
        return tuple(field for field in self.fields if field.is_text)

    @property
    def unlearnt(self) -> tuple[str, ...]:
        """The features that no model looks at."""
        return tuple(feature.name for feature in self.features if not feature.learn)

    @property
    def primary_metric(self) -> str | None:
        """The metric that counts most: the first that the gates name; None: the label kind's own."""
        return next((gate.metric for gate in self.gates if gate.names_score), None)

    @property
    def aggregates_labels(self) -> bool:
        return any(feature.of == LABEL for feature in self.features)
