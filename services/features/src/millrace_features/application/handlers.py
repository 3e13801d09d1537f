"""One event in, vectors out. What is remembered and what is sent become real together, outside of here."""

from collections.abc import Iterator

from millrace_features.application.ports import Histories, Plans
from millrace_features.domain.events import EventAccepted, EventLabelled, FeaturesComputed
from millrace_features.domain.history import History, under, with_event, with_label
from millrace_features.domain.plan import Plan, Retention
from millrace_features.domain.vectors import decide


def on_event(
    event: EventAccepted, plans: Plans, histories: Histories
) -> Iterator[FeaturesComputed]:
    plan = plans.of(event.pipeline, event.pipeline_version)
    if plan is None:
        return
    known = histories.of(event.pipeline, event.entity)
    retention = _retention(plan, known, plans)
    history = under(retention, known)
    late = history.is_late(event.event_time, retention)
    vector = decide(plan, history, event, late=late)
    if not late:
        history = with_event(retention, history, plan, event)
    if history is not known:
        histories.put(event.pipeline, event.entity, history)
    yield vector


def on_label(
    event: EventLabelled, plans: Plans, histories: Histories
) -> Iterator[FeaturesComputed]:
    """A label makes no vector: it counts in those of later events."""
    plan = plans.of(event.pipeline, event.pipeline_version)
    if plan is not None:
        known = histories.of(event.pipeline, event.entity)
        retention = _retention(plan, known, plans)
        before = under(retention, known)
        history = with_label(retention, before, event)
        if history is not before:
            histories.put(event.pipeline, event.entity, history)
    return iter(())


def _retention(plan: Plan, history: History | None, plans: Plans) -> Retention:
    """That of the newest version seen: while a version is replaced, events of both may come mixed."""
    if history is None or history.version <= plan.version:
        return plan.retention
    newer = plans.of(plan.pipeline, history.version)
    return plan.retention if newer is None else newer.retention
