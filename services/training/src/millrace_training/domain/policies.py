"""A pipeline's retraining policy, as its file says it: data, versioned with the file, and tried on history by `millrace backtest`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.schedules import spread
from millrace_kernel.time import Duration
from millrace_training.domain.costs import NO_PRICES, Prices


@dataclass(frozen=True, slots=True)
class Policy:
    """What the pipeline file in force says. Durations are of the pipeline's own clock."""

    pipeline: PipelineName
    version: int
    versions: frozenset[int]  # the files whose rows can be learnt from together with this one's
    triggers: frozenset[Trigger]
    schedule: str | None
    cooldown: Duration
    runs_per_day: int
    cpu_minutes_per_day: float
    first_after: int
    train_on_last: int = 20_000
    volume: float | None = None  # None: not a trigger
    update: float | None = None
    money_per_day: float | None = None  # in the prices' currency; None: not bounded
    prices: Prices = NO_PRICES
    # what the models of these versions have that an update would lose, in words
    lost_by_updates: Mapping[int, str] = field(default_factory=dict)


def policy_of(pipeline: Pipeline, known: Iterable[Pipeline], prices: Prices = NO_PRICES) -> Policy:
    """The policy of the file in force. `known` are all its versions that were heard of, `prices` the operator's."""
    retraining = pipeline.retraining
    alike = [other for other in (pipeline, *known) if _same_rows(pipeline, other)]
    return Policy(
        pipeline=pipeline.name,
        version=pipeline.version,
        versions=frozenset(other.version for other in alike),
        triggers=retraining.on | {Trigger.FIRST, Trigger.COMMAND},
        schedule=spread(retraining.schedule, pipeline.name)
        if Trigger.SCHEDULE in retraining.on and retraining.schedule
        else None,
        cooldown=retraining.cooldown,
        runs_per_day=retraining.runs_per_day,
        cpu_minutes_per_day=retraining.cpu_minutes_per_day,
        first_after=pipeline.model.first_after,
        train_on_last=pipeline.model.train_on_last,
        volume=retraining.volume if Trigger.VOLUME in retraining.on else None,
        update=retraining.update if Trigger.UPDATE in retraining.on else None,
        money_per_day=retraining.money_per_day,
        prices=prices,
        lost_by_updates={
            other.version: lost for other in alike if (lost := _lost_by_updates(other)) is not None
        },
    )


def _lost_by_updates(pipeline: Pipeline) -> str | None:
    """New trees know nothing of what was learnt behind the trees, and are not grown on what an encoder reads."""
    model = pipeline.model
    if model.calibration:
        return "is calibrated"
    if model.quantiles or model.interval is not None:
        return "answers quantiles" if model.quantiles else "answers an interval"
    return "reads text by a sentence encoder" if model.text.encoder and pipeline.texts else None


def _same_rows(one: Pipeline, other: Pipeline) -> bool:
    """Whether the same columns and the same truth stand in the rows of both files."""
    labels = [(label.field, label.kind, label.positive) for label in (one.label, other.label)]
    return one.features == other.features and labels[0] == labels[1]
