"""What is remembered of one entity, and how an event, a label or a new pipeline version changes it.

Histories are values: every change makes a new one, and lists that did not change are shared. Events stand in the order of
their times; of equal times, in the order of arrival.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from millrace_kernel.pipeline import LABEL
from millrace_kernel.time import Instant

from millrace_features.domain.events import EventAccepted, EventLabelled
from millrace_features.domain.plan import Plan, Retention

NAN = math.nan
NO_EVENT_YET = Instant(-(1 << 62))
NOT_KNOWN_YET = Instant(1 << 62)

T = TypeVar("T")
Revision = tuple[Instant, float]  # known from then on, value (NaN: retracted)


@dataclass(frozen=True, slots=True)
class Labels:
    """The truth about the remembered events, side by side with their times."""

    ids: list[str]
    known_at: list[int]  # of the newest revision
    values: list[float]  # of the newest revision; NaN: none or retracted
    revisions: Mapping[
        str, tuple[Revision, ...]
    ]  # by event id, oldest first; only of those that have several

    def in_force(self, place: int, at: int) -> float:
        """The label of one event as it was known at a time; NaN for none."""
        if self.known_at[place] <= at:
            return self.values[place]
        value = NAN
        for known_at, revised in self.revisions.get(self.ids[place], ()):
            if known_at > at:
                break
            value = revised
        return value

    def known_in(self, start: int, end: int, at: int) -> list[float]:
        """The labels in force of the events from `start` to before `end`."""
        if self.revisions:
            found = [self.in_force(place, at) for place in range(start, end)]
            return [value for value in found if value == value]
        known = zip(self.values[start:end], self.known_at[start:end], strict=True)
        return [value for value, known_at in known if known_at <= at and value == value]


@dataclass(frozen=True, slots=True)
class History:
    version: int  # the newest pipeline version seen, which decides what is kept
    newest: Instant  # the newest event time seen
    times: list[int]
    fields: Mapping[str, list[float]]  # earlier values, side by side with the times
    ever: Mapping[str, float]  # the newest value among the events that are gone
    labels: Labels | None

    def is_late(self, at: Instant, retention: Retention) -> bool:
        return at < self.newest - retention.lateness

    def place(self, at: Instant) -> int:
        """How many remembered events come before one of this time that arrives now."""
        return len(self.times) if at >= self.newest else bisect_right(self.times, at)


def empty(retention: Retention) -> History:
    return _laid_out(History(retention.version, NO_EVENT_YET, [], {}, {}, None), retention)


def under(retention: Retention, history: History | None) -> History:
    """The history as a newer version keeps it: it starts from what is there; what was not kept is missing."""
    if history is None:
        return empty(retention)
    return _laid_out(history, retention) if history.version < retention.version else history


def _laid_out(history: History, retention: Retention) -> History:
    length = len(history.times)
    labels = history.labels
    if labels is None:
        labels = Labels([""] * length, [NOT_KNOWN_YET] * length, [NAN] * length, {})
    return History(
        version=retention.version,
        newest=history.newest,
        times=history.times,
        fields={name: history.fields.get(name) or [NAN] * length for name in retention.fields},
        ever={name: history.ever.get(name, NAN) for name in retention.ever},
        labels=labels if retention.labels else None,
    )


def with_event(retention: Retention, history: History, plan: Plan, event: EventAccepted) -> History:
    """Put an event that is not late where it belongs, and forget what nothing can need any more."""
    at, place = event.event_time, history.place(event.event_time)
    times = _with(history.times, place, at)
    newest = max(history.newest, at)
    gone = _gone(retention, times, newest)
    places, numbers = plan.number_places, event.numbers
    fields = {
        name: _with(values, place, numbers[places[name]] if name in places else NAN)
        for name, values in history.fields.items()
    }
    labels = history.labels
    if labels is not None:
        labels = Labels(
            _with(labels.ids, place, event.event_id),
            _with(labels.known_at, place, NOT_KNOWN_YET),
            _with(labels.values, place, NAN),
            labels.revisions,
        )
    grown = History(history.version, newest, times, fields, history.ever, labels)
    return _without(grown, gone, Instant(newest - retention.lateness)) if gone else grown


def with_label(retention: Retention, history: History, event: EventLabelled) -> History:
    """Note a label, its correction or its retraction. That of an event which is not remembered changes nothing."""
    labels = history.labels
    place = _place_of(history, event)
    if labels is None or place is None:
        return history
    key = labels.ids[place]
    known = labels.revisions.get(key) or _only(labels, place)
    revisions = _revised(known, (event.known_at, event.value))
    revisions = _still_needed(revisions, history.newest - retention.lateness)
    known_at, value = revisions[-1]
    several = {other: entries for other, entries in labels.revisions.items() if other != key}
    if len(revisions) > 1:
        several[key] = revisions
    changed = Labels(
        labels.ids,
        _set(labels.known_at, place, known_at),
        _set(labels.values, place, value),
        several,
    )
    return replace(history, labels=changed)


def _place_of(history: History, event: EventLabelled) -> int | None:
    if history.labels is None:
        return None
    start = bisect_left(history.times, event.event_time)
    end = bisect_right(history.times, event.event_time, start)
    try:
        return history.labels.ids.index(event.event_id, start, end)
    except ValueError:
        return None


def _only(labels: Labels, place: int) -> tuple[Revision, ...]:
    known_at = Instant(labels.known_at[place])
    return () if known_at == NOT_KNOWN_YET else ((known_at, labels.values[place]),)


def _revised(revisions: tuple[Revision, ...], new: Revision) -> tuple[Revision, ...]:
    """In the order of knowing; of two known at the same time the one that arrived later counts."""
    before = tuple(revision for revision in revisions if revision[0] < new[0])
    after = tuple(revision for revision in revisions if revision[0] > new[0])
    return (*before, new, *after)


def _still_needed(revisions: tuple[Revision, ...], horizon: int) -> tuple[Revision, ...]:
    """No event before the horizon will be computed any more: of what was known by then, only the last can count."""
    known = sum(known_at <= horizon for known_at, _ in revisions)
    return revisions[max(0, known - 1) :]


def _gone(retention: Retention, times: Sequence[int], newest: int) -> int:
    """How many of the oldest events no vector can need: none that comes is before the newest less the lateness."""
    if not retention.keeps_events:
        return len(times)
    horizon = newest - retention.lateness
    before_window = bisect_right(times, horizon - retention.window)
    before_lags = bisect_right(times, horizon) - retention.lags
    return max(0, min(before_window, before_lags))


def _without(history: History, gone: int, horizon: Instant) -> History:
    """Forget the oldest events, but not their newest values where those count for ever."""
    ever = dict(history.ever)
    for name in ever:
        for place in range(gone - 1, -1, -1):
            value = _value(history, name, place, horizon)
            if value == value:
                ever[name] = value
                break
    labels = history.labels
    if labels is not None:
        dropped = set(labels.ids[:gone]) if labels.revisions else ()
        labels = Labels(
            labels.ids[gone:],
            labels.known_at[gone:],
            labels.values[gone:],
            {key: value for key, value in labels.revisions.items() if key not in dropped},
        )
    fields = {name: values[gone:] for name, values in history.fields.items()}
    return History(history.version, history.newest, history.times[gone:], fields, ever, labels)


def _value(history: History, name: str, place: int, at: Instant) -> float:
    if name == LABEL:
        return NAN if history.labels is None else history.labels.in_force(place, at)
    return history.fields[name][place]


def _with(values: list[T], place: int, value: T) -> list[T]:
    copy = values.copy()
    copy.insert(place, value)
    return copy


def _set(values: list[T], place: int, value: T) -> list[T]:
    copy = values.copy()
    copy[place] = value
    return copy
