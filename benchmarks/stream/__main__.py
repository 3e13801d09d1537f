"""Events to predictions: Millrace beside Quix Streams and Bytewax.

    make bench-stream       or      .venv/bin/python -m benchmarks.stream [--quick]

All do the same: JSON events from Kafka, the same 28 features of them (20 fields, 5 expressions, 3 means over a window of the
entity), the same XGBoost model (100 trees of depth 6, as ONNX), predictions to Kafka, at least once. Millrace does it in three
processes with three hops through Kafka (each of its topics can be read and replayed), the others in one: so the main figure is
the processor time of all processes of a contender per event, from which the events per second and core used follow.
Contenders in turn within a round, first on one core (Kafka and the benchmark on the other), then on both.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.stream.contenders import MILLRACE, Contender, Place, contenders
from benchmarks.stream.environments import EnvironmentMissingError
from benchmarks.stream.figures import (
    MOST_DIFFERENT,
    Json,
    Latency,
    Throughput,
    different,
    ratios,
    reached,
    spread,
    summary,
)
from benchmarks.stream.plot import draw
from benchmarks.stream.processes import ContenderFailedError, Pinned
from benchmarks.stream.rounds import Run, latency, throughput
from benchmarks.stream.settings import Settings, load
from benchmarks.stream.stage import Stage, stage

RESULTS = Path(__file__).parents[1] / "results"
ONE_CORE, TWO_CORES = (0,), (0, 1)
BROKER_CORE = 1
GAP = 1_000_000  # events between the first of a round and the first of the next: no window reaches across
GOALS = {
    "quix_per_core_used": 2.0,
    "bytewax_per_core_used": 1.0,
    "two_cores_times_one": 1.0,
    "p50_ms": 10.0,
    "p99_ms": 25.0,
}
RATE = 1_000.0


class Bench:
    """All rounds on one stage; `first` counts up, so that every round sees events of its own."""

    def __init__(self, place: Stage, folder: Path, settings: Settings, names: list[str]) -> None:
        self._stage = place
        self._folder = folder
        self._settings = settings
        self._contenders = [each for each in contenders() if each.name in names]
        self._runs = 0
        self._rounds = 0
        self.failures: list[str] = []  # of events at a constant rate

    def throughputs(
        self, cores: tuple[int, ...], rounds: int, count: int
    ) -> dict[str, list[Throughput]]:
        samples: dict[str, list[Throughput]] = defaultdict(list)
        for _ in range(rounds):
            self._rounds += 1
            for contender in self._contenders:
                run, pinned = self._prepare(contender, cores, linger_ms=5)
                sample = asyncio.run(throughput(self._stage, run, pinned, count))
                samples[contender.name].append(sample)
                print(
                    f"  {len(cores)} core(s)  {contender.name:9s} {sample.events_per_second:9,.0f} events/s  "
                    f"{sample.cpu_us_per_event:7.1f} us of processor time per event  "
                    f"{ {name: round(1e6 * cpu / sample.events, 1) for name, cpu in sample.cpu_seconds.items()} }",
                    flush=True,
                )
        return samples

    def latencies(
        self, cores: tuple[int, ...], rounds: int, seconds: float
    ) -> dict[str, list[Latency]]:
        samples: dict[str, list[Latency]] = defaultdict(list)
        for _ in range(rounds):
            self._rounds += 1
            for contender in self._contenders:
                run, pinned = self._prepare(contender, cores, linger_ms=0)
                try:
                    sample = asyncio.run(latency(self._stage, run, pinned, RATE, seconds))
                except ContenderFailedError as error:  # it can't keep up, which is a result too
                    self.failures.append(f"{contender.name}: {error}")
                    print(f"  {RATE:.0f} events/s  {contender.name:9s} failed: {error}", flush=True)
                    continue
                samples[contender.name].append(sample)
                print(
                    f"  {RATE:.0f} events/s  {contender.name:9s} p50 {sample.p50_ms:7.2f} ms  "
                    f"p99 {sample.p99_ms:7.2f} ms  ({sample.cpu_seconds / sample.events * 1e6:.0f} us per event)  {sample.hops}",
                    flush=True,
                )
        return samples

    def _prepare(
        self, contender: Contender, cores: tuple[int, ...], linger_ms: int
    ) -> tuple[Run, Pinned]:
        self._runs += 1
        folder = self._folder / f"{contender.name}-{self._runs}"
        place = Place(
            bootstrap=self._stage.bootstrap,
            folder=folder,
            home=self._stage.home,
            benchmarks=self._settings.folder,
            model=self._stage.model,
            number=self._runs,
            inherited=self._settings.inherited,
            linger_ms=linger_ms,
            processes=len(cores),
        )
        run = Run(contender, self._runs, self._rounds * GAP)
        return run, Pinned(contender.commands(place), cores, folder)


def check_answers(samples: dict[str, list[Throughput]]) -> None:
    """Whoever answers otherwise has done something else."""
    for name, theirs in samples.items():
        for ours, other in zip(samples.get(MILLRACE, theirs), theirs, strict=True):
            share = different(ours.answers, other.answers)
            if share > MOST_DIFFERENT:
                raise ContenderFailedError(
                    f"{name} differs from Millrace in {share:.1%} of answers"
                )


def result_of(
    one: dict[str, list[Throughput]],
    two: dict[str, list[Throughput]],
    paced: dict[str, list[Latency]],
    options: argparse.Namespace,
) -> Json:
    titles = {each.name: each.title for each in contenders()}
    found: Json = {
        "about": "processor time of all processes of a contender; Millrace without its online store, which the peers lack",
        "events": options.events,
        "rounds": options.rounds,
        "load_before": options.load,
        "rate": RATE,
        "contenders": {},
        "millrace_times": {},
        "goals": GOALS,
    }
    for name in one:
        entry: Json = {"title": titles[name], "one_core": summary(one[name])}
        entry["events_per_second"] = entry["one_core"]["events_per_second"]
        entry["cpu_us_per_event"] = entry["one_core"]["cpu_us_per_event"]
        if name in two:
            entry["two_cores"] = summary(two[name])
        if name in paced:
            entry["p50_ms"] = spread([sample.p50_ms for sample in paced[name]])
            entry["p99_ms"] = spread([sample.p99_ms for sample in paced[name]])
            if paced[name][-1].hops:
                entry["hops_of_the_last_round"] = paced[name][-1].hops
        found["contenders"][name] = entry
        if name != MILLRACE and MILLRACE in one:
            found["millrace_times"][name] = ratios(one[MILLRACE], one[name])
    found["reached"] = reached(found, GOALS, MILLRACE)
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one round, few events; writes nothing"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=40_000, help="in each run")
    parser.add_argument("--seconds", type=float, default=15.0, help="of events at a constant rate")
    parser.add_argument("--contenders", nargs="+", default=[each.name for each in contenders()])
    parser.add_argument("--skip", nargs="+", default=[], choices=["one", "two", "latency"])
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of stream.json and .svg"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.events, options.seconds = 1, 10_000, 5.0
    options.load = [round(value, 1) for value in os.getloadavg()]
    return options


def main() -> int:
    # a broker that has just made a topic says for a moment that nobody leads it; the client tries again by itself
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = parsed()
    settings = load()
    with tempfile.TemporaryDirectory(prefix="bench-stream-") as name:
        folder = Path(name)
        with stage(folder, BROKER_CORE) as place:
            bench = Bench(place, folder, settings, options.contenders)
            try:
                one = two = {}
                if "one" not in options.skip:
                    one = bench.throughputs(ONE_CORE, options.rounds, options.events)
                    check_answers(one)
                if "two" not in options.skip:
                    two = bench.throughputs(TWO_CORES, options.rounds, options.events)
                paced = {}
                if "latency" not in options.skip:
                    paced = bench.latencies(TWO_CORES, options.rounds, options.seconds)
            except (ContenderFailedError, EnvironmentMissingError) as error:
                print(f"bench-stream: {error}", file=sys.stderr)
                return 1
    result = result_of(one, two, paced, options)
    result["failures"] = bench.failures
    print(json.dumps({name: result[name] for name in ("millrace_times", "reached")}, indent=2))
    if options.quick or options.skip or len(options.contenders) < len(contenders()):
        return 0
    path = options.results / "stream.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    draw(result, options.results / "stream.svg")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
