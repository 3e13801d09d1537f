"""Laws that hold for any stream: what is remembered suffices, the order of arrival does not matter, the future is not seen."""

import math
import statistics
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_features.adapters.state import HistoryCodec

NAN = math.nan
LATENESS, WINDOW, LONGER, MATURITY = 4, 5, 9, 3
FUNCTIONS = ("sum", "mean", "min", "max", "std", "last")
FEATURES = (
    "{name: lag_1, expr: 'lag(x, 1)'}",
    "{name: lag_3, expr: 'lag(y, 3)'}",
    "{name: pause, expr: 'event_time - lag(event_time, 2)'}",
    f"{{name: events, agg: count, window: {WINDOW}s}}",
    *(f"{{name: x_{name}, agg: {name}, of: x, window: {WINDOW}s}}" for name in FUNCTIONS),
    *(f"{{name: y_{name}, agg: {name}, of: y, window: {LONGER}s}}" for name in FUNCTIONS),
    *(f"{{name: label_{name}, agg: {name}, of: label, window: {LONGER}s}}" for name in FUNCTIONS),
    "{name: x_ever, agg: last, of: x}",
    "{name: label_ever, agg: last, of: label}",
)

values = st.just(NAN) | st.integers(-3, 3).map(float) | st.sampled_from([0.1, 1e16, -1e16, 1e-9])


@dataclass(frozen=True)
class Event:
    id: str
    at: int
    x: float
    y: float


@dataclass(frozen=True)
class Label:
    of: Event
    known_at: int
    value: float


@st.composite
def streams(draw, latest=25):
    """Events and labels as they may arrive: mostly in order, some labels before their events."""
    arrivals, events, now = [], [], 0
    for number in range(draw(st.integers(1, 25))):
        if events and draw(st.integers(0, 2)) == 0:
            event = draw(st.sampled_from(events[-6:]))
            known_at = event.at + draw(st.integers(0, MATURITY + 4))
            arrivals.append(Label(event, known_at, draw(values)))
            continue
        now = min(latest, now + draw(st.sampled_from([0, 0, 1, 1, 2, 3, 8])))
        at = now - draw(st.sampled_from([0, 0, 0, 1, 2, 4, 5, 7]))
        events.append(Event(str(number), at, draw(values), draw(values)))
        if draw(st.integers(0, 5)) == 0:
            known_at = at + draw(st.integers(0, MATURITY))
            arrivals.append(Label(events[-1], known_at, draw(values)))
        arrivals.append(events[-1])
    return arrivals


@dataclass
class Reference:
    """The rules, written down a second time: all that ever arrived is kept, everything is computed anew."""

    events: list = field(default_factory=list)  # in time, in the order of arrival
    labels: list = field(default_factory=list)
    frozen: dict = field(default_factory=dict)  # labels of events that are too old to be corrected

    def late(self, at):
        return any(at < event.at - LATENESS for event in self.events)

    def label(self, label):
        self.labels.append(label)

    def event(self, event):
        if self.late(event.at):
            names = [text.split(":")[1].split(",")[0].strip() for text in FEATURES]
            return {"x": event.x, "y": event.y} | dict.fromkeys(names, NAN) | {"late": True}
        vector = self.vector(event)
        self.events.append(event)
        self.freeze()
        return vector

    def freeze(self):
        for event in set(self.events) - set(self.needed()) - self.frozen.keys():
            horizon = max(event.at for event in self.events) - LATENESS
            self.frozen[event] = self.in_force(event, horizon)

    def needed(self):
        """The events that some vector may still read."""
        ordered = sorted(self.events, key=lambda event: event.at)
        horizon = max(event.at for event in self.events) - LATENESS
        old = [event for event in ordered if event.at <= horizon]
        in_windows = [event for event in ordered if event.at > horizon - LONGER]
        lags = [event for event in old[-3:] if event not in in_windows]
        return lags + in_windows

    def in_force(self, event, at):
        heard = [label for label in self.labels if label.of == event and label.known_at <= at]
        heard.reverse()  # of those known at the same time the one heard last comes first
        return max(heard, key=lambda label: label.known_at).value if heard else NAN

    def vector(self, event):
        earlier = sorted((e for e in self.events if e.at <= event.at), key=lambda e: e.at)
        vector = {"x": event.x, "y": event.y, "late": False}
        vector["lag_1"] = earlier[-1].x if earlier else NAN
        vector["lag_3"] = earlier[-3].y if len(earlier) >= 3 else NAN
        vector["pause"] = float(event.at - earlier[-2].at) if len(earlier) >= 2 else NAN
        vector["events"] = 1.0 + sum(e.at > event.at - WINDOW for e in earlier)
        own = [*earlier, event]
        xs = [e.x for e in own if e.at > event.at - WINDOW]
        ys = [e.y for e in own if e.at > event.at - LONGER]
        labels = [self.in_force(e, event.at) for e in earlier if e.at > event.at - LONGER]
        for column, found in (("x", xs), ("y", ys), ("label", labels)):
            known = [value for value in found if not math.isnan(value)]
            vector |= {f"{column}_{name}": aggregate(name, known) for name in FUNCTIONS}
        ever = [self.frozen[e] if e in self.frozen else self.in_force(e, event.at) for e in earlier]
        vector["x_ever"] = newest([e.x for e in own])
        vector["label_ever"] = newest(ever)
        return vector


def newest(found):
    return next((value for value in reversed(found) if not math.isnan(value)), NAN)


def aggregate(name, known):
    if not known or (name == "std" and len(known) < 2):
        return NAN
    exact = float(sum(map(Fraction, known)))
    match name:
        case "sum":
            return exact
        case "mean":
            return exact / len(known)
        case "std":
            return statistics.stdev(map(Fraction, known))
        case "last":
            return known[-1]
        case _:
            return {"min": min, "max": max}[name](known)


def tell(heart, arrival):
    """Let one thing happen; an event gives its vector."""
    if isinstance(arrival, Label):
        return heart.label(arrival.of.id, arrival.of.at, arrival.known_at, arrival.value)
    return heart.event(arrival.id, arrival.at, arrival.x, arrival.y)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = {"rel": 1e-12, "abs": 0} if name.endswith("std") else {"rel": 0, "abs": 0}
        assert found[name] == pytest.approx(value, nan_ok=True, **tolerance), name


@pytest.fixture(scope="module")
def new_heart(pipeline, heart_of):
    made = pipeline(
        *FEATURES, fields="x: float, y: float", lateness=f"{LATENESS}s", maturity=f"{MATURITY}s"
    )
    return lambda: heart_of(made)


@settings(deadline=None)  # a busy machine breaks no law
@given(arrivals=streams())
def test_every_vector_is_what_the_full_history_gives(new_heart, arrivals):
    heart, reference = new_heart(), Reference()
    for arrival in arrivals:
        if isinstance(arrival, Label):
            tell(heart, arrival)
            reference.label(arrival)
        else:
            assert_same(tell(heart, arrival), reference.event(arrival))


@settings(deadline=None)  # a busy machine breaks no law
@given(arrivals=streams())
def test_exactly_the_events_that_a_vector_may_still_read_are_remembered(new_heart, arrivals):
    heart, reference = new_heart(), Reference()
    for arrival in arrivals:
        tell(heart, arrival)
        if isinstance(arrival, Event):
            reference.event(arrival)
            assert heart.history().labels.ids == [event.id for event in reference.needed()]


@settings(deadline=None)  # a busy machine breaks no law
@given(arrivals=streams(), data=st.data())
def test_a_state_that_was_written_and_read_again_gives_the_same_bytes(new_heart, arrivals, data):
    heart, restarted, codec = new_heart(), new_heart(), HistoryCodec()
    for arrival in arrivals:
        tell(heart, arrival)
        tell(restarted, arrival)
        if "e" in {entity for _, entity in heart.remembered.histories}:
            content = codec.encode(heart.history())
            assert codec.encode(restarted.history()) == content
            if data.draw(st.booleans()):
                restarted.remembered.histories["bikes", "e"] = codec.decode(content)


in_one_lateness = st.lists(
    st.builds(Event, st.uuids().map(str), st.integers(20, 20 + LATENESS), values, values),
    max_size=8,
    unique_by=lambda event: event.at,
)


@settings(deadline=None)  # a busy machine breaks no law
@given(history=streams(latest=20), events=in_one_lateness, data=st.data())
def test_the_order_of_arrival_within_the_lateness_does_not_matter_to_what_comes_last(
    new_heart, history, events, data
):
    last = [Event("last", 20 + LATENESS, 1.0, 2.0), Event("last of all", 30, NAN, 2.0)]

    def vectors(order):
        heart = new_heart()
        for arrival in [*history, *order]:
            tell(heart, arrival)
        return [tell(heart, event) for event in last]

    first, second = vectors(events), vectors(data.draw(st.permutations(events)))
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


@settings(deadline=None)  # a busy machine breaks no law
@given(arrivals=streams(), data=st.data())
def test_no_later_event_and_no_label_known_later_changes_a_vector(new_heart, arrivals, data):
    events = [arrival for arrival in arrivals if isinstance(arrival, Event)]
    end = max(event.at for event in events)
    at = end - data.draw(st.integers(0, LATENESS))
    target = Event("target", at, 1.0, 2.0)

    def otherwise(arrival):
        if isinstance(arrival, Event):
            return arrival if arrival.at <= at else Event(arrival.id, arrival.at, NAN, 77.0)
        return arrival if arrival.known_at <= at else Label(arrival.of, arrival.known_at, 77.0)

    def vector(arrivals):
        heart = new_heart()
        for arrival in arrivals:
            tell(heart, arrival)
        return tell(heart, target)

    assert_same(vector(map(otherwise, arrivals)), vector(arrivals))


@settings(deadline=None)  # a busy machine breaks no law
@given(arrivals=streams(), data=st.data())
def test_a_vector_is_the_same_when_the_later_events_have_not_come_yet(new_heart, arrivals, data):
    end = max(arrival.at for arrival in arrivals if isinstance(arrival, Event))
    at = end - data.draw(st.integers(0, LATENESS))
    reference, in_time, by_then = Reference(), [], []
    for arrival in arrivals:
        if isinstance(arrival, Event):
            if reference.late(arrival.at):
                continue  # whether an event is late does depend on what came before it
            reference.event(arrival)
        in_time.append(arrival)
        if is_of_the_past(arrival, at):
            by_then.append(arrival)

    def vector(arrivals):
        heart = new_heart()
        for arrival in arrivals:
            tell(heart, arrival)
        found = tell(heart, Event("target", at, 1.0, 2.0))
        del found["label_ever"]  # how long corrections count does depend on what came meanwhile
        return found

    assert_same(vector(by_then), vector(in_time))


def is_of_the_past(arrival, at):
    return (
        arrival.at <= at
        if isinstance(arrival, Event)
        else max(arrival.known_at, arrival.of.at) <= at
    )
