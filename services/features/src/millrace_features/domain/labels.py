"""The truth about an entity's events: what was known when. Values, as histories are: every change makes a new one."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

from millrace_features.domain.events import EventAccepted, EventLabelled
from millrace_features.domain.lists import inserted, present, replaced

NAN = math.nan
NOT_KNOWN_YET = 1 << 62

Revision = tuple[int, float]  # known from then on, value (NaN: retracted)
Revisions = tuple[Revision, ...]  # in the order of knowing
Ahead = tuple[int, str, Revision]  # event time, event id


@dataclass(frozen=True, slots=True)
class Labels:
    """Side by side with the times of the remembered events; and what is known of events that have yet to come.

    Labels come by ways of their own (another topic, a replay of one before the other), so some are ahead of their events.
    """

    ids: list[str]
    known_at: list[int]  # of the newest revision
    values: list[float]  # of the newest revision; NaN: none or retracted
    revisions: Mapping[str, Revisions]  # by event id; only of those that have several
    ahead: list[Ahead]  # in the order of event times

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
        """The labels in force of the events from `start` to before `end`, as they were known at a time."""
        if self.revisions:
            return present([self.in_force(place, at) for place in range(start, end)])
        return present(self._newest_in(start, end, at))

    def _newest_in(self, start: int, end: int, at: int) -> list[float]:
        known_at = self.known_at[start:end]
        if known_at == sorted(
            known_at
        ):  # as nearly always: then those known by the time come first
            return self.values[start : start + bisect_right(known_at, at)]
        both = zip(self.values[start:end], known_at, strict=True)
        return [value for value, known in both if known <= at]


def unknown(events: int) -> Labels:
    """Of events whose ids were not kept: no label will find them."""
    return Labels([""] * events, [NOT_KNOWN_YET] * events, [NAN] * events, {}, [])


def with_event(labels: Labels, place: int, event: EventAccepted, horizon: int) -> Labels:
    """Make room for an event's label, or take what came ahead of it. None will come for events before the horizon."""
    grown = Labels(
        inserted(labels.ids, place, event.event_id),
        inserted(labels.known_at, place, NOT_KNOWN_YET),
        inserted(labels.values, place, NAN),
        labels.revisions,
        labels.ahead,
    )
    ahead = labels.ahead
    if not ahead:
        return grown
    at: int = event.event_time
    start = bisect_left(ahead, at, key=_event_time)
    end = bisect_right(ahead, at, start, key=_event_time)
    known: Revisions = ()
    for _, event_id, revision in ahead[start:end]:
        if event_id == event.event_id:
            known = _revised(known, revision)
    if known:
        grown = _with_revisions(grown, place, known)
    overdue = bisect_left(ahead, horizon, key=_event_time)
    return replace(grown, ahead=ahead[overdue:]) if overdue else grown


def with_label(labels: Labels, times: list[int], event: EventLabelled, horizon: int) -> Labels:
    """Note a label, its correction or its retraction. That of an event which is gone or was late changes nothing."""
    revision = (event.known_at, event.value)
    place = _place_of(times, labels, event)
    if place is not None:
        known = labels.revisions.get(event.event_id) or _only(labels, place)
        return _with_revisions(labels, place, _needed(_revised(known, revision), horizon))
    at: int = event.event_time
    if at < horizon:
        return labels
    after = bisect_right(labels.ahead, at, key=_event_time)
    ahead = inserted(labels.ahead, after, (at, event.event_id, revision))
    return replace(labels, ahead=ahead)


def without(labels: Labels, gone: int) -> Labels:
    """Those of all but the oldest events."""
    ids, revisions = labels.ids, labels.revisions
    if revisions:
        dropped = set(ids[:gone])
        revisions = {key: known for key, known in revisions.items() if key not in dropped}
    return Labels(ids[gone:], labels.known_at[gone:], labels.values[gone:], revisions, labels.ahead)


def _place_of(times: list[int], labels: Labels, event: EventLabelled) -> int | None:
    start = bisect_left(times, event.event_time)
    end = bisect_right(times, event.event_time, start)
    try:
        return labels.ids.index(event.event_id, start, end)
    except ValueError:
        return None


def _only(labels: Labels, place: int) -> Revisions:
    known_at = labels.known_at[place]
    return () if known_at == NOT_KNOWN_YET else ((known_at, labels.values[place]),)


def _revised(known: Revisions, new: Revision) -> Revisions:
    """Of two labels known at the same time the one that arrived later counts."""
    before = tuple(revision for revision in known if revision[0] < new[0])
    after = tuple(revision for revision in known if revision[0] > new[0])
    return (*before, new, *after)


def _needed(known: Revisions, horizon: int) -> Revisions:
    """No event before the horizon will be computed any more: of what was known by then, only the last can count."""
    by_then = sum(known_at <= horizon for known_at, _ in known)
    return known[max(0, by_then - 1) :]


def _with_revisions(labels: Labels, place: int, known: Revisions) -> Labels:
    """The newest revision stands beside the event; all of them apart, where there are several."""
    key, (known_at, value) = labels.ids[place], known[-1]
    revisions = labels.revisions
    if key in revisions or len(known) > 1:
        several = {key: known} if len(known) > 1 else {}
        revisions = {other: kept for other, kept in revisions.items() if other != key} | several
    return Labels(
        labels.ids,
        replaced(labels.known_at, place, known_at),
        replaced(labels.values, place, value),
        revisions,
        labels.ahead,
    )


def _event_time(ahead: Ahead) -> int:
    return ahead[0]
