"""The vector of an event: its own values, and what is remembered of its entity as of its time. Nothing later counts."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from millrace_features.domain.events import EventAccepted, FeaturesComputed
from millrace_features.domain.history import History
from millrace_features.domain.lists import present
from millrace_features.domain.plan import Plan, Window
from millrace_kernel.errors import PermanentError
from millrace_kernel.expressions import EVENT_TIME, Lagged, Values
from millrace_kernel.pipeline import LABEL
from millrace_kernel.time import SECOND, Instant

NAN = math.nan


def decide(plan: Plan, history: History, event: EventAccepted, *, late: bool) -> FeaturesComputed:
    """The vector of an event that has not been put into the history yet. Raises PermanentError for a misshapen one."""
    _refuse_misshapen(plan, event)
    numbers = [NAN] * plan.width
    for place, source, length in plan.copies:
        numbers[place : place + length] = event.numbers[source : source + length]
    before = 0 if late else history.place(event.event_time)
    if plan.expressions:
        values, lagged = _values(plan, event), _lagged(history, before)
        for place, evaluate in plan.expressions:
            numbers[place] = evaluate(values, lagged)
    if not late:
        _aggregate(plan, history, event, before, numbers)
        for place, name in plan.ever:
            numbers[place] = _newest(plan, history, event, name, before)
    return FeaturesComputed(
        event.pipeline,
        event.pipeline_version,
        event.event_id,
        event.entity,
        event.event_time,
        tuple(numbers),
        tuple([event.texts[source] for source in plan.categories]),
        late,
    )


def _refuse_misshapen(plan: Plan, event: EventAccepted) -> None:
    if len(event.numbers) != len(plan.number_places) or len(event.texts) != plan.text_count:
        expected, found = (
            (len(plan.number_places), plan.text_count),
            (len(event.numbers), len(event.texts)),
        )
        raise PermanentError(
            f"event {event.event_id} carries {found[0]} numbers and {found[1]} texts, but version {plan.version} "
            f"of pipeline {plan.pipeline} has {expected[0]} and {expected[1]}; send it again through ingestion"
        )


def _values(plan: Plan, event: EventAccepted) -> Values:
    values: dict[str, float | str] = {
        name: event.numbers[place] for name, place in plan.read_numbers
    }
    for name, place in plan.read_texts:
        values[name] = event.texts[place]
    values[EVENT_TIME] = event.event_time / SECOND
    return values


def _lagged(history: History, before: int) -> Lagged:
    def lagged(name: str, steps: int) -> float:
        place = before - steps
        if place < 0:
            return NAN
        if name == EVENT_TIME:
            return history.times[place] / SECOND
        values = history.fields.get(name)
        return NAN if values is None else values[place]

    return lagged


def _aggregate(
    plan: Plan, history: History, event: EventAccepted, before: int, numbers: list[float]
) -> None:
    """Fill in what is made of windows; those of the same length begin at the same place."""
    length, start = -1, 0
    for window in plan.windows:
        if window.length != length:
            length = window.length
            start = bisect_right(history.times, event.event_time - length, 0, before)
        present = _present(plan, history, event, window, start, before)
        for place, aggregate in window.columns:
            numbers[place] = aggregate(present)


def _present(
    plan: Plan, history: History, event: EventAccepted, window: Window, start: int, before: int
) -> Sequence[float]:
    """What the window holds and is not missing, oldest first: events in (time - length, time], itself included.

    `start` is the place of the first of them.
    """
    name = window.of
    if name is None:
        return range(start, before + 1)  # only their number counts
    if name == LABEL:  # its own label is the answer that is sought
        return history.labels.known_in(start, before, event.event_time) if history.labels else ()
    values = history.fields[name][start:before] if name in history.fields else []
    values.append(event.numbers[plan.number_places[name]])
    return present(values)


def _newest(plan: Plan, history: History, event: EventAccepted, name: str, before: int) -> float:
    """The newest value ever that is not missing."""
    values: Iterable[float]
    if name == LABEL:
        values = _labels_backwards(history, event.event_time, before)
    else:
        own = event.numbers[plan.number_places[name]]
        values = chain((own,), reversed(history.fields.get(name, [])[:before]))
    for value in values:
        if value == value:
            return value
    return history.ever.get(name, NAN)


def _labels_backwards(history: History, at: Instant, before: int) -> Iterator[float]:
    if history.labels is not None:
        for place in range(before - 1, -1, -1):
            yield history.labels.in_force(place, at)
