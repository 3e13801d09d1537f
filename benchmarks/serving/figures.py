"""From samples to figures: medians and spreads over rounds, ratios within a round, goals. No I/O."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REST, GRPC = "rest", "grpc"
FLOORS = {REST: "floor", GRPC: "floor-grpc"}
MILLRACE, MILLRACE_GRPC = "millrace", "millrace-grpc"
MLSERVER, MLSERVER_GRPC = "mlserver", "mlserver-grpc"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw: requests that ended within `seconds`, errors among them."""

    seconds: float
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender at one concurrency in one round. `broker_cpu_seconds` is Kafka's, on the load generator's core."""

    load: Load
    cpu_seconds: float
    broker_cpu_seconds: float = 0.0

    @property
    def requests_per_second(self) -> float:
        return self.load.requests / self.load.seconds

    @property
    def cpu_us_per_request(self) -> float:
        return 1e6 * self.cpu_seconds / self.load.requests

    @property
    def broker_cpu_us_per_request(self) -> float:
        return 1e6 * self.broker_cpu_seconds / self.load.requests


@dataclass(frozen=True, slots=True)
class Paced:
    """One contender asked at `rate` requests per second, half of the most that it gave in the same round."""

    rate: float
    load: Load

    @property
    def p99_vs_p50(self) -> float:
        return self.load.p99_ms / self.load.p50_ms


@dataclass(frozen=True, slots=True)
class Turn:
    """What one contender did in one round: by concurrency, and at half its rate if it was asked so."""

    samples: Mapping[int, Sample]
    half: Paced | None = None

    @property
    def most(self) -> float:
        """Requests per second at the concurrency where it gave most."""
        return max(sample.requests_per_second for sample in self.samples.values())


# contender -> its turns, one per round
Turns = Mapping[str, Sequence[Turn]]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed (nearest rank); of an ordered sequence that isn't empty."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> Json:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def ratios(turns: Turns, contender: str, other: str, concurrency: int, figure: str) -> list[float]:
    """The contender's figure over the other's, round by round: what changes from round to round falls out."""
    pairs = zip(turns.get(contender, ()), turns.get(other, ()), strict=False)
    return [
        getattr(ours.samples[concurrency], figure) / getattr(theirs.samples[concurrency], figure)
        for ours, theirs in pairs
    ]


_FIGURES = ("requests_per_second", "cpu_us_per_request")


def figures_at(turns: Turns, contender: str, floor: str, concurrency: int) -> Json:
    """The medians over the rounds, and how far the rounds were apart."""
    samples = [turn.samples[concurrency] for turn in turns[contender]]
    spreads = {
        figure: spread([getattr(sample, figure) for sample in samples]) for figure in _FIGURES
    }
    against = ratios(turns, contender, floor, concurrency, "cpu_us_per_request")
    if against:
        spreads["cpu_vs_floor"] = spread(against)
    spreads["p50_ms"] = spread([sample.load.p50_ms for sample in samples])
    spreads["p99_ms"] = spread([sample.load.p99_ms for sample in samples])
    medians = {figure: values["median"] for figure, values in spreads.items()}
    result: Json = {"cpu_vs_floor": None, **medians, "spread": spreads}
    result["errors"] = sum(sample.load.errors for sample in samples)
    if any(sample.broker_cpu_seconds for sample in samples):
        broker = [sample.broker_cpu_us_per_request for sample in samples]
        result["broker_cpu_us_per_request"] = spread(broker)["median"]
    return result


def half_rate(turns: Sequence[Turn]) -> Json | None:
    paced = [turn.half for turn in turns if turn.half is not None]
    if not paced:
        return None
    return {
        "requests_per_second": spread([one.rate for one in paced])["median"],
        "p50_ms": spread([one.load.p50_ms for one in paced])["median"],
        "p99_ms": spread([one.load.p99_ms for one in paced])["median"],
        "p99_vs_p50": spread([one.p99_vs_p50 for one in paced]),
        "errors": sum(one.load.errors for one in paced),
    }


def contender_figures(turns: Turns, contender: str, protocol: str) -> Json:
    """What `serving.json` says of one contender."""
    levels = sorted(turns[contender][0].samples)
    floor = FLOORS[protocol]
    return {
        "protocol": protocol,
        "rounds": len(turns[contender]),
        "concurrency": {str(level): figures_at(turns, contender, floor, level) for level in levels},
        "half_rate": half_rate(turns[contender]),
    }


@dataclass(frozen=True, slots=True)
class Goal:
    """`found` and `met` are None when it was not measured."""

    text: str
    wanted: float
    found: float | None
    met: bool | None


def goals(turns: Turns, logged: float | None) -> list[Goal]:
    """Each judged by the concurrency that is worst for it. `logged`: the share of the answers that are on the stream."""
    levels = sorted({level for each in turns.values() for turn in each for level in turn.samples})

    def over(ours: str, theirs: str, figure: str) -> list[float]:
        every = [ratios(turns, ours, theirs, level, figure) for level in levels]
        return [statistics.median(found) for found in every if found]

    cpu, rate = "cpu_us_per_request", "requests_per_second"
    halves = [turn.half.p99_vs_p50 for turn in turns.get(MILLRACE, ()) if turn.half]
    return [
        _at_most("REST: CPU per request over the floor's", 4.0, over(MILLRACE, FLOORS[REST], cpu)),
        _at_least("REST: requests/s over MLServer's", 10.0, over(MILLRACE, MLSERVER, rate)),
        _at_most(
            "REST: p99 over p50 at half of the maximum rate",
            3.0,
            [statistics.median(halves)] if halves else [],
        ),
        _at_most(
            "gRPC: CPU per request over the floor's", 2.0, over(MILLRACE_GRPC, FLOORS[GRPC], cpu)
        ),
        _at_least(
            "gRPC: requests/s over MLServer's", 3.0, over(MILLRACE_GRPC, MLSERVER_GRPC, rate)
        ),
        _at_least(
            "answers found on millrace.predictions, share", 1.0, [] if logged is None else [logged]
        ),
    ]


def _at_most(text: str, wanted: float, found: Sequence[float]) -> Goal:
    worst = max(found) if found else None
    return Goal(f"{text}, at most", wanted, worst, None if worst is None else worst <= wanted)


def _at_least(text: str, wanted: float, found: Sequence[float]) -> Goal:
    worst = min(found) if found else None
    return Goal(f"{text}, at least", wanted, worst, None if worst is None else worst >= wanted)
