"""What the demo found, from the topics: a value, a table, and `demo.json`."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from millrace.demo import figures
from millrace.demo.figures import Counts
from millrace.demo.frozen import first_scorer, frozen_error
from millrace.errors import ClientError
from millrace.feed import Happening, read_all
from millrace.output import number
from millrace_artifacts.errors import ArtifactError
from millrace_artifacts.seal import Vault
from millrace_bus.broker import Broker
from millrace_contracts.catalogue import PACKAGE
from millrace_kernel.pipeline import Pipeline

_TYPES = (
    "EventAccepted",
    "FeaturesComputed",
    "PredictionMade",
    "LabelObserved",
    "DriftDetected",
    "RetrainRequested",
    "TrainingCompleted",
    "ModelPromoted",
    "ModelDeployed",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`serving` and `serving_less_fit` are the median and the worst, in seconds; NaN where nothing was deployed."""

    counts: Counts
    compared: int
    mae_loop: float
    mae_frozen: float
    serving: tuple[float, float]
    serving_less_fit: tuple[float, float]
    trace_id: str | None

    def as_json(self, **more: object) -> dict[str, Any]:
        """Flat, for programs; what is not there is null."""
        counts = self.counts
        return {
            "events_accepted": counts.accepted,
            "events_scored": counts.scored,
            "lost": counts.lost,
            "doubled": counts.doubled,
            "labels": counts.labelled,
            "drift_events": counts.drift_events,
            "runs": counts.runs,
            "promotions": counts.promotions,
            "promotions_by_drift": counts.promotions_by_drift,
            "events_compared": self.compared,
            "mae_loop": _rounded(self.mae_loop),
            "mae_frozen": _rounded(self.mae_frozen),
            "drift_to_serving_seconds": _rounded(self.serving[0]),
            "drift_to_serving_worst_seconds": _rounded(self.serving[1]),
            "drift_to_serving_less_fit_seconds": _rounded(self.serving_less_fit[0]),
            "drift_to_serving_less_fit_worst_seconds": _rounded(self.serving_less_fit[1]),
            "trace_id": self.trace_id,
        } | more


async def outcome_of(
    broker: Broker, pipeline: Pipeline, sent: Collection[str], vault: Vault
) -> Outcome:
    """Read the topics from their beginning, as any reader may, with the reader's fence."""
    happenings = figures.fenced(await read_all(broker, [f"{PACKAGE}.{t}" for t in _TYPES]))
    heard = figures.of_pipeline(happenings, pipeline.name)
    scored = figures.under_champions(heard)
    servings = figures.servings_of(heard)
    return Outcome(
        counts=figures.counts_of(heard, sent),
        compared=len(scored),
        mae_loop=figures.mean_error((each.answer, each.label) for each in scored),
        mae_frozen=_frozen(heard, pipeline, scored, vault),
        serving=figures.median_and_worst([each.seconds for each in servings]),
        serving_less_fit=figures.median_and_worst([each.less_fit_seconds for each in servings]),
        trace_id=figures.whole_loop_trace(heard),
    )


def table_of(outcome: Outcome, lines: Mapping[str, str]) -> Table:
    """The outcome for people, with further lines (name -> what to say) at its end."""
    counts = outcome.counts
    better = 1 - outcome.mae_loop / outcome.mae_frozen if outcome.mae_frozen else math.nan
    rows = {
        "events in": f"{counts.accepted}",
        "scored": f"{counts.scored}",
        "lost": f"{counts.lost}",
        "doubled": f"{counts.doubled}",
        "drifts proven": f"{counts.drift_events}",
        "training runs": f"{counts.runs}",
        "promotions": f"{counts.promotions}, {counts.promotions_by_drift} of them by drift",
        "mae of the loop": f"{number(outcome.mae_loop)} over {outcome.compared} events, each scored before its label came",
        "mae of the first model, kept": f"{number(outcome.mae_frozen)} over the same events: the loop is {better:.0%} better",
        "from drift to serving": _seconds(outcome.serving),
        "  of that, not the fit": _seconds(outcome.serving_less_fit),
    } | dict(lines)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _frozen(
    heard: Mapping[str, Sequence[Happening]],
    pipeline: Pipeline,
    scored: Sequence[figures.Scored],
    vault: Vault,
) -> float:
    try:
        scorer = first_scorer(heard.get("ModelPromoted", ()), vault)
    except ArtifactError as error:
        raise ClientError(f"the first model can't be loaded to compare with: {error}") from error
    if scorer is None:
        return math.nan
    vectors = {each.fields["event_id"]: each for each in heard.get("FeaturesComputed", ())}
    return frozen_error(scorer, pipeline, vectors, scored)


def _seconds(median_and_worst: tuple[float, float]) -> str:
    median, worst = median_and_worst
    return "-" if math.isnan(median) else f"{median:.2f} s (worst {worst:.2f} s)"


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
