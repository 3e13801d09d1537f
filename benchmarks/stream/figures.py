"""From samples to figures: medians and spreads, ratios within a round, goals. No I/O."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
TOLERANCE = 1e-3
MOST_DIFFERENT = (
    0.002  # of the answers: a sum in another order may fall on the other side of a tree's threshold
)


@dataclass(frozen=True, slots=True)
class Throughput:
    """`cpu_seconds` by process; `answers` to some events, by id."""

    events: int
    seconds: float
    cpu_seconds: Mapping[str, float]
    broker_cpu_seconds: float
    answers: Mapping[str, float] = field(repr=False)

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us_per_event(self) -> float:
        return 1e6 * sum(self.cpu_seconds.values()) / self.events


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from send to answer at `rate` events per second; `hops`: from topic to topic, where there are any."""

    rate: float
    events: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    hops: Json = field(default_factory=dict, repr=False)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank of ascending values. Raises ValueError without values."""
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], digits: int = 2) -> Json:
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def different(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The share of the common answers in which two contenders differ. Raises ValueError when they have none."""
    common = one.keys() & other.keys()
    if not common:
        raise ValueError("no answers in common")
    return sum(abs(one[name] - other[name]) > TOLERANCE for name in common) / len(common)


def summary(samples: Sequence[Throughput]) -> Json:
    """One contender on so many cores, over the rounds."""
    processes = samples[0].cpu_seconds.keys()
    return {
        "events_per_second": spread([sample.events_per_second for sample in samples], 0),
        "cpu_us_per_event": spread([sample.cpu_us_per_event for sample in samples]),
        "events_per_cpu_second": spread([1e6 / sample.cpu_us_per_event for sample in samples], 0),
        "cpu_us_per_event_by_process": {
            name: round(
                statistics.median(
                    1e6 * sample.cpu_seconds[name] / sample.events for sample in samples
                ),
                2,
            )
            for name in processes
        },
        "broker_cpu_us_per_event": spread(
            [1e6 * sample.broker_cpu_seconds / sample.events for sample in samples]
        ),
    }


def ratios(ours: Sequence[Throughput], theirs: Sequence[Throughput]) -> Json:
    """How many times their rate ours is, round by round: per core used, and by the clock."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "per_core_used": spread([b.cpu_us_per_event / a.cpu_us_per_event for a, b in pairs]),
        "by_the_clock": spread([a.events_per_second / b.events_per_second for a, b in pairs]),
    }


def reached(result: Json, goals: Mapping[str, float], ours: str) -> Json:
    """Each goal that was measured: the median, and whether it is as good as wanted (times: more; milliseconds: less)."""
    times, mine = result["millrace_times"], result["contenders"].get(ours, {})
    measured = {
        f"{name}_per_core_used": found["per_core_used"]["median"] for name, found in times.items()
    }
    if "two_cores" in mine:
        rates = [mine[cores]["events_per_second"]["median"] for cores in ("two_cores", "one_core")]
        measured["two_cores_times_one"] = round(rates[0] / rates[1], 2)
    for name in ("p50_ms", "p99_ms"):
        if name in mine:
            measured[name] = mine[name]["median"]
    return {
        name: {
            "goal": goals[name],
            "measured": value,
            "is_reached": value <= goals[name] if name.endswith("_ms") else value >= goals[name],
        }
        for name, value in measured.items()
    }
