"""The shape of the gates section: what each kind of check is told."""

from typing import Literal

from pydantic import Field

from millrace_contracts.pipeline_file.basic_forms import Form, Text

MetricWord = Literal[
    "mae",
    "rmse",
    "r2",
    "pinball_loss",
    "coverage",
    "interval_width",
    "accuracy",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "macro_f1",
    "rouge_l",
    "bleu",
    "exact_match",
]
CheckWord = Literal[
    "overfit",
    "noise_drop",
    "missing_drop",
    "leak",
    "latency_us",
    "artifact_bytes",
    "calibration_error",
]
GateWord = Literal[MetricWord, CheckWord]
FairnessWord = Literal["demographic_parity", "equal_opportunity", "disparate_impact"]
FEWEST_OF_A_SLICE = 50  # holdout rows; of fewer a metric is mostly chance


class SliceForm(Form):
    by: Text = Field(
        examples=["region"], description="The feature whose values part the rows into slices."
    )
    metric: MetricWord = Field(examples=["mae"])
    worst: float = Field(
        examples=[120],
        description="What the metric of the worst slice must reach: at most or at least, as the metric has it.",
    )
    rows: int = Field(
        default=FEWEST_OF_A_SLICE,
        ge=1,
        le=100_000_000,
        description="Slices of fewer holdout rows don't count.",
    )


class FairnessForm(Form):
    by: Text = Field(
        examples=["sex"], description="The feature whose values part the rows into groups."
    )
    measure: FairnessWord = Field(examples=["disparate_impact"])
    max: float | None = Field(
        default=None, ge=0, le=1, description="Of a difference between groups' shares."
    )
    min: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of a ratio of groups' shares; 0.8 is the four-fifths rule.",
    )
    rows: int = Field(
        default=FEWEST_OF_A_SLICE,
        ge=1,
        le=100_000_000,
        description="Groups of fewer holdout rows don't count.",
    )


class GateForm(Form):
    """One of: {metric, max and min}, {metric, better_than}, {slice}, {fairness}, {schema}."""

    metric: GateWord | None = Field(default=None, examples=["mae"])
    max: float | None = None
    min: float | None = None
    better_than: Literal["champion", "baseline"] | None = None
    confidence: float | None = Field(
        default=None, gt=0, lt=1, description="With better_than; 0.95 if left out."
    )
    slice: SliceForm | None = None
    fairness: FairnessForm | None = None
    schema_: Literal["match"] | None = Field(
        default=None,
        alias="schema",
        description="The candidate eats only what the pipeline computes, and answers what its label is.",
    )
