"""The loop's policy on every labelled set: `python -m benchmarks.loop [--policy FILE] [--results FILE] [SET]...`, see docs/backtest.md.

Reads the sets from the folder that MILLRACE_BENCH_DATA names and makes the generated ones itself, keeps fits under MILLRACE_HOME, and
writes benchmarks/results/loop.json: of a set that was not asked for what stood there stays.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.loop.generated import GENERATED, GeneratedSet
from benchmarks.loop.sets import SETS, LabelledSet

from millrace.replay.ordering import messages_of
from millrace_backtest.backtest import Settings, backtest, report
from millrace_backtest.fits import FitStore
from millrace_backtest.noise import lead
from millrace_backtest.policies import policy_of
from millrace_backtest.recording import recorded
from millrace_backtest.scoring import LOWER_IS_BETTER

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "loop.json"
POLICY = HERE / "policy.yaml"
OTHERS = ("frozen", "periodic", "adwin")
ALL = (*SETS, *GENERATED)


def played(
    one: LabelledSet | GeneratedSet, folder: Path | None, store: FitStore, policy_file: Path
) -> dict[str, Any]:
    """The report of the one policy for all, without the series, and how long it took beside the fits."""
    pipeline = one.pipeline()
    rows, began, fitting = one.rows(folder), time.perf_counter(), store.fitting_seconds
    recording = recorded(pipeline, messages_of(pipeline, rows))
    policy = policy_of(pipeline, policy_file.read_text(), policy_file.stem)
    done = backtest(recording, [policy], store, Settings(metric=one.metric))
    said = report(done)
    playing = time.perf_counter() - began - (store.fitting_seconds - fitting)
    outcome = said["policies"][0]
    kept = {key: value for key, value in outcome.items() if key not in ("series", "runs", "name")}
    gain = outcome["every"] - outcome["frozen"]
    return {
        "set": one.name,
        "events": said["events"],
        "scored": said["scored"],
        **kept,
        "gain": -gain if outcome["metric"] in LOWER_IS_BETTER else gain,
        "cpu_share": outcome["cpu_seconds"] / outcome["every_cpu_seconds"],
        "lead_over": {name: asdict(lead(done, done.outcomes[0], name)) for name in OTHERS},
        "seconds_without_fits": playing,
        "seconds_for_100000_events": playing / said["events"] * 100_000,
    }


def main(words: list[str]) -> int:
    asked = _parser().parse_args(words)
    names, results = asked.sets, asked.results
    named = os.environ.get("MILLRACE_BENCH_DATA")  # noqa: TID251  a benchmark is its own settings
    folder = Path(named) if named else None
    if folder is None:
        print("bench-loop: MILLRACE_BENCH_DATA names no folder: only the generated sets are played")
    unknown = sorted(set(names) - {one.name for one in ALL})
    if unknown:
        print(f"bench-loop: no set {', '.join(unknown)}", file=sys.stderr)
        return 2
    home = Path(os.environ.get("MILLRACE_HOME") or ".millrace")  # noqa: TID251
    store = FitStore(Path(os.environ.get("MILLRACE_FITS") or home / "backtest"))  # noqa: TID251
    rows = json.loads(results.read_text())["sets"] if results.is_file() else []
    for one in ALL:
        if names and one.name not in names:
            continue
        if not one.is_there(folder):
            print(f"{one.name}: its file is not there; left out")
            continue
        row = played(one, folder, store, asked.policy)
        rows = [*(other for other in rows if other["set"] != one.name), row]
        results.parent.mkdir(exist_ok=True)
        document = {
            "policy": asked.policy.read_text(),
            "sets": sorted(rows, key=lambda each: each["set"]),
        }
        results.write_text(json.dumps(document, indent=1) + "\n")
        print(_line(row), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.loop", description=__doc__)
    parser.add_argument("sets", nargs="*", help="all, if none is named")
    parser.add_argument("--policy", type=Path, default=POLICY, help="another than the benchmark's")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are kept")
    return parser


def _line(row: dict[str, Any]) -> str:
    captured = row["gain_captured"]
    share = "nothing to gain" if captured is None else f"{captured:.2f} of every's gain"
    return (
        f"{row['set']:9} {row['metric']:9} loop {row['loop']:.4g} frozen {row['frozen']:.4g} every {row['every']:.4g} "
        f"periodic {row['periodic']:.4g} ({row['periodic_retrains']}) adwin {row['adwin']:.4g} ({row['adwin_retrains']}): {share}, "
        f"{row['cpu_share']:.0%} of its CPU seconds, {row['retrains']} runs; "
        f"{row['seconds_for_100000_events']:.0f} s for 100,000 events without the fits"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
