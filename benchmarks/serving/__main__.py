"""Millrace's serving beside other model servers, all with the same model, each alone on one core.

    make bench-serving            or    .venv/bin/python -m benchmarks.serving [--quick] [--contenders millrace,mlserver]

Makes the peers' environments when they are missing (minutes, once), starts a Kafka of its own, and takes every contender in
turn, round after round. The server is on core 0, the load generator and Kafka are on core 1. Prints a table with the goals,
writes results/serving.json and results/serving.svg; exits with 1 when a goal is missed. --quick is for trying: one short round, written next to the rest as
.millrace/benchmarks/quick.json.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.serving import load, plot, report, settings
from benchmarks.serving.contenders import CONTENDERS, Contender
from benchmarks.serving.environments import EnvironmentMissingError, environment
from benchmarks.serving.figures import goals
from benchmarks.serving.processes import ContenderFailedError
from benchmarks.serving.rounds import Plan, Session
from benchmarks.serving.stage import stage
from benchmarks.serving.workload import make_workload

RESULTS = Path(__file__).parents[1] / "results"
FULL = Plan(rounds=3, seconds=4, warm_seconds=2, half_seconds=5)
QUICK = Plan(rounds=1, seconds=2, warm_seconds=1, half_seconds=2)


def main() -> None:
    options = _options()
    missing = load.missing_tools()
    if missing:
        sys.exit(
            f"bench-serving: not installed: {', '.join(missing)}; on Debian: apt-get install {' '.join(missing)}"
        )
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench-serving: two cores are needed, one for the server and one for the load")
    plan = replace(
        QUICK if options.quick else FULL, priority=() if options.polite else load.ahead()
    )
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    if options.seconds:
        plan = replace(plan, seconds=options.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, as Ctrl-C does
    began = time.monotonic()
    try:
        session = _play(plan, options.contenders)
    except ContenderFailedError as error:
        sys.exit(f"bench-serving: {error}")
    if not session.turns:
        sys.exit("bench-serving: nothing was measured")
    judged = goals(session.turns, session.answers.share)
    result = report.report(
        options.contenders, session.turns, session.skipped, session.answers, judged, plan
    )
    print(f"\n{report.table(result)}\n\n{time.monotonic() - began:,.0f} s")
    output = options.output or (
        settings.load().folder / "quick.json" if options.quick else RESULTS / "serving.json"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    plot.draw(result, output.with_suffix(".svg"))
    print(f"written to {output} and {output.with_suffix('.svg').name}")
    sys.exit(not options.quick and any(goal.met is False for goal in judged))


def _play(plan: Plan, contenders: list[Contender]) -> Session:
    workload = make_workload()
    found = settings.load()
    skipped = _make_environments(found, contenders)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        model = folder / "model.json"
        workload.save(model)
        with stage(folder, workload) as platform:
            os.sched_setaffinity(0, {settings.LOAD_CORE})  # the benchmark itself, mostly asleep
            session = Session(found, plan, workload, platform, folder, model, skipped=skipped)
            session.play(contenders)
    return session


def _make_environments(found: settings.Settings, contenders: list[Contender]) -> dict[str, str]:
    """Before anything is measured; contender -> why it is left out."""
    skipped = {}
    for contender in contenders:
        try:
            if contender.environment is not None:
                environment(contender.environment, found.folder)
        except EnvironmentMissingError as error:
            print(f"bench-serving: {error}", flush=True)
            skipped[contender.name] = str(error)
    return skipped


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round, for trying")
    parser.add_argument("--rounds", type=int, help="how often every contender has its turn")
    parser.add_argument("--seconds", type=int, help="how long one measurement takes")
    parser.add_argument(
        "--polite",
        action="store_true",
        help="no real-time priority for the load generator: for a machine that has other work to do",
    )
    parser.add_argument("--output", type=Path, help="the JSON file; the plot stands beside it")
    parser.add_argument(
        "--contenders",
        type=_contenders,
        default=list(CONTENDERS),
        help=f"which ones, with commas between; default all: {','.join(one.name for one in CONTENDERS)}",
    )
    return parser.parse_args()


def _contenders(text: str) -> list[Contender]:
    names = text.split(",")
    unknown = set(names) - {contender.name for contender in CONTENDERS}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return [contender for contender in CONTENDERS if contender.name in names]


if __name__ == "__main__":
    main()
