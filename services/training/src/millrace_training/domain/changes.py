"""Where the last change is estimated to have begun: what came since may be worth more than all of the past."""

from collections.abc import Collection
from dataclasses import dataclass

from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import Instant
from millrace_training.domain.events import Cause


@dataclass(frozen=True, slots=True)
class Change:
    """`since` is an event time, as monitoring estimated it; `heard_at` the pipeline's clock when it was told of."""

    since: Instant
    heard_at: Instant


def with_news(known: Change | None, cause: Cause, last_requested: Instant | None) -> Change | None:
    """The newest change; of several that were told of since the last full run was asked for, the one that began first: what
    a model does not know is told of again and again."""
    if cause.since is None:
        return known
    told = Change(cause.since, cause.at)
    if known is None or (last_requested is not None and known.heard_at <= last_requested):
        return told
    return min(known, told, key=lambda change: change.since)


def change_to_learn_from(
    change: Change | None, trigger: Trigger, triggers: Collection[Trigger]
) -> Instant | None:
    """What a run is told of it. An update learns what is newest anyway, and where there are updates, only a run that a change itself
    asked for is told: the others would pay for the comparison and gain nothing by it (decision 0029)."""
    if change is None or trigger is Trigger.UPDATE:
        return None
    asked = trigger in (Trigger.DRIFT, Trigger.PERFORMANCE)
    return change.since if asked or Trigger.UPDATE not in triggers else None
