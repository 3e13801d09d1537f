"""What is remembered of one entity, and how an event, a label or a new pipeline version changes it.

Histories are values: every change makes a new one, and lists that did not change are shared. Events stand in the order of
their times; of equal times, in the order of arrival.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from millrace_features.domain import labels as truth
from millrace_features.domain.events import EventAccepted, EventLabelled
from millrace_features.domain.labels import Labels
from millrace_features.domain.lists import inserted, shifted
from millrace_features.domain.plan import Plan, Retention
from millrace_kernel.pipeline import LABEL

NAN = math.nan
NO_EVENT_YET = -(1 << 62)


class History(NamedTuple):
    version: int  # the newest pipeline version seen, which decides what is kept
    newest: int  # the newest event time seen
    times: list[int]
    fields: Mapping[str, list[float]]  # earlier values, side by side with the times
    ever: Mapping[str, float]  # the newest value among the events that are gone
    labels: Labels | None

    def is_late(self, at: int, retention: Retention) -> bool:
        return at < self.newest - retention.lateness

    def place(self, at: int) -> int:
        """How many remembered events come before one of this time that arrives now."""
        return len(self.times) if at >= self.newest else bisect_right(self.times, at)


def under(retention: Retention, history: History | None) -> History:
    """The history as a newer version keeps it: it starts from what is there; what was not kept is missing."""
    if history is None:
        history = History(0, NO_EVENT_YET, [], {}, {}, None)
    if history.version >= retention.version:
        return history
    length = len(history.times)
    return History(
        version=retention.version,
        newest=history.newest,
        times=history.times,
        fields={name: history.fields.get(name) or [NAN] * length for name in retention.fields},
        ever={name: history.ever.get(name, NAN) for name in retention.ever},
        labels=(history.labels or truth.unknown(length)) if retention.labels else None,
    )


def with_event(retention: Retention, history: History, plan: Plan, event: EventAccepted) -> History:
    """Put an event that is not late where it belongs, and forget what nothing can need any more."""
    at, place = event.event_time, history.place(event.event_time)
    newest = max(history.newest, at)
    horizon = newest - retention.lateness
    times = inserted(history.times, place, at)
    places, numbers = plan.number_places, event.numbers
    gone = _gone(retention, times, horizon)
    if gone <= place and history.labels is None and not history.ever:  # nearly all: in one go
        fields = {
            name: shifted(values, gone, place, numbers[places[name]] if name in places else NAN)
            for name, values in history.fields.items()
        }
        del times[:gone]
        return History(history.version, newest, times, fields, history.ever, None)
    fields = {
        name: inserted(values, place, numbers[places[name]] if name in places else NAN)
        for name, values in history.fields.items()
    }
    labels = history.labels
    if labels is not None:
        labels = truth.with_event(labels, place, event, horizon)
    grown = History(history.version, newest, times, fields, history.ever, labels)
    return _without(grown, gone, horizon) if gone else grown


def with_label(retention: Retention, history: History, event: EventLabelled) -> History:
    """Note what is known about an event; the same history when that can't matter any more."""
    if history.labels is None:
        return history
    horizon = history.newest - retention.lateness
    labels = truth.with_label(history.labels, history.times, event, horizon)
    if labels is history.labels:
        return history
    return History(
        history.version, history.newest, history.times, history.fields, history.ever, labels
    )


def _gone(retention: Retention, times: Sequence[int], horizon: int) -> int:
    """How many of the oldest events no vector can need: none that is yet to come is before the horizon."""
    if not retention.keeps_events:
        return len(times)
    before_window = bisect_right(times, horizon - retention.window)
    before_lags = bisect_right(times, horizon) - retention.lags
    return max(0, min(before_window, before_lags))


def _without(history: History, gone: int, horizon: int) -> History:
    """Forget the oldest events, but not their newest values where those count for ever."""
    labels = history.labels
    return History(
        history.version,
        history.newest,
        history.times[gone:],
        {name: values[gone:] for name, values in history.fields.items()},
        {name: _newest_of(history, name, gone, horizon) for name in history.ever},
        None if labels is None else truth.without(labels, gone),
    )


def _newest_of(history: History, name: str, end: int, at: int) -> float:
    """The newest value before place `end`, or the one from before all that is remembered."""
    for place in range(end - 1, -1, -1):
        value = _value(history, name, place, at)
        if value == value:
            return value
    return history.ever[name]


def _value(history: History, name: str, place: int, at: int) -> float:
    if name == LABEL:
        return NAN if history.labels is None else history.labels.in_force(place, at)
    return history.fields[name][place]
