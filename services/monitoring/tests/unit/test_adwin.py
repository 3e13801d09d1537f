"""ADWIN: the detections are river's, the memory is logarithmic, the state is a value."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from millrace_kernel.time import Instant
from millrace_monitoring.domain.adwin import BUCKETS_PER_SIZE, Adwin, Change, update

Draw = Callable[[np.random.Generator, float], float]

DRAWS: dict[str, Draw] = {
    "wrong or right": lambda rng, level: float(rng.random() < level),
    "normal": lambda rng, level: rng.normal(level, 0.3),
    "far above 1": lambda rng, level: rng.exponential(level * 100),
    "constant": lambda rng, level: level,
}
LEVELS = {"unchanged": (0.3,), "up and down": (0.2, 0.6, 0.1), "slowly up": (0.2, 0.25, 0.3, 0.4)}


def stream(draw: Draw, levels: tuple[float, ...], seed: int, each: int = 800) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    return (draw(rng, level) for level in levels for _ in range(each))


def run(
    values: Iterator[float] | list[float], adwin: Adwin
) -> tuple[Adwin, list[tuple[int, Change]]]:
    changes = []
    for number, value in enumerate(values):
        adwin, change = update(adwin, value, Instant(number))
        if change:
            changes.append((number, change))
    return adwin, changes


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_window_and_detections_are_rivers(draw: str, levels: str, seed: int) -> None:
    theirs = ADWIN(
        delta=0.002
    )._helper  # the window itself: the class around it begins anew after each detection
    ours = Adwin(0.002)
    for number, value in enumerate(stream(DRAWS[draw], LEVELS[levels], seed)):
        detected = theirs.update(value)
        ours, change = update(ours, value, Instant(number))
        assert (change is not None, ours.width) == (detected, theirs.get_width()), number
        assert ours.total == pytest.approx(theirs.get_total())


def test_begun_anew_after_each_detection_it_is_rivers_detector() -> None:
    theirs, ours, detected = ADWIN(delta=0.01), Adwin(0.01), 0
    for number, value in enumerate(stream(DRAWS["normal"], LEVELS["up and down"], 1)):
        theirs.update(value)
        ours, change = update(ours, value, Instant(number))
        assert (change is not None) == theirs.drift_detected, number
        if change:
            ours, detected = Adwin(0.01), detected + 1
    assert detected >= 2


def test_a_change_says_when_it_began_how_large_it_is_and_in_which_direction() -> None:
    _, changes = run(stream(DRAWS["normal"], (0.2, 0.8), 5, each=1000), Adwin(0.002))

    at, first = changes[0]
    assert 1000 <= at < 1100
    assert first.is_increase
    assert first.after - first.before > first.epsilon
    assert 900 <= first.since <= at
    assert first.events == at - first.since + 1


def test_a_fall_is_a_change_but_no_increase() -> None:
    _, changes = run(stream(DRAWS["normal"], (0.8, 0.2), 5), Adwin(0.002))

    assert changes
    assert not any(change.is_increase for _, change in changes)


def test_an_unchanged_stream_is_left_alone() -> None:
    """The bound on false alarms: `delta` a check at most; seen are none in 60 streams of 2,000."""
    false_alarms = 0
    for seed in range(60):
        _, changes = run(stream(DRAWS["wrong or right"], (0.2,), seed, each=2000), Adwin(0.002))
        false_alarms += len(changes)

    assert false_alarms == 0


def test_memory_grows_with_the_logarithm_of_the_window() -> None:
    adwin, _ = run([0.0, 1.0] * 10_000, Adwin(0.002))

    assert adwin.width == 20_000
    assert len(adwin.rows) <= 13
    assert all(len(row) <= BUCKETS_PER_SIZE for row in adwin.rows)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1), max_size=400), rest=st.lists(st.floats(0, 1), max_size=100))
def test_a_state_that_was_written_and_read_goes_on_as_if_it_never_was(
    values: list[float], rest: list[float]
) -> None:
    adwin, _ = run(values, Adwin(0.01))

    again = msgspec.msgpack.decode(msgspec.msgpack.encode(adwin), type=Adwin)

    assert again == adwin
    assert run(rest, again) == run(rest, adwin)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_the_buckets_hold_the_newest_values_and_nothing_else(values: list[float]) -> None:
    adwin, _ = run(values, Adwin(0.01))
    kept = values[-adwin.width :]

    buckets = [(size, bucket) for size, row in enumerate(adwin.rows) for bucket in row]
    assert sum(1 << size for size, _ in buckets) == adwin.width
    assert sum(bucket.total for _, bucket in buckets) == pytest.approx(sum(kept))
    assert adwin.mean == pytest.approx(sum(kept) / len(kept))
    since = [bucket.since for row in reversed(adwin.rows) for bucket in row]
    assert all(earlier < later for earlier, later in pairwise(since))
    assert since[0] == len(values) - adwin.width
