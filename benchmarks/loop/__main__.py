"""The loop's policy on every labelled set: `python -m benchmarks.loop [SET]...`, see docs/backtest.md.

Reads the sets from the folder that MILLRACE_BENCH_DATA names, keeps fits under MILLRACE_HOME, and writes
benchmarks/results/loop.json: of a set that was not asked for what stood there stays.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

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


def played(one: LabelledSet, folder: Path, store: FitStore) -> dict[str, Any]:
    """The report of the one policy for all, without the series."""
    pipeline = one.pipeline()
    recording = recorded(pipeline, messages_of(pipeline, one.rows(folder)))
    policy = policy_of(pipeline, POLICY.read_text(), POLICY.stem)
    done = backtest(recording, [policy], store, Settings(metric=one.metric))
    said = report(done)
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
    }


def main(names: list[str]) -> int:
    folder = os.environ.get("MILLRACE_BENCH_DATA")  # noqa: TID251  a benchmark is its own settings
    if not folder:
        print("bench-loop: MILLRACE_BENCH_DATA names no folder with the sets", file=sys.stderr)
        return 2
    unknown = sorted(set(names) - {one.name for one in SETS})
    if unknown:
        print(f"bench-loop: no set {', '.join(unknown)}", file=sys.stderr)
        return 2
    home = Path(os.environ.get("MILLRACE_HOME") or ".millrace")  # noqa: TID251
    store = FitStore(Path(os.environ.get("MILLRACE_FITS") or home / "backtest"))  # noqa: TID251
    rows = json.loads(RESULTS.read_text())["sets"] if RESULTS.is_file() else []
    for one in SETS:
        if names and one.name not in names:
            continue
        if not (Path(folder) / one.file).is_file():
            print(f"{one.name}: {one.file} is not there; left out")
            continue
        row = played(one, Path(folder), store)
        rows = [*(other for other in rows if other["set"] != one.name), row]
        RESULTS.parent.mkdir(exist_ok=True)
        document = {
            "policy": POLICY.read_text(),
            "sets": sorted(rows, key=lambda each: each["set"]),
        }
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        print(_line(row), flush=True)
    return 0


def _line(row: dict[str, Any]) -> str:
    captured = row["gain_captured"]
    share = "nothing to gain" if captured is None else f"{captured:.2f} of every's gain"
    return (
        f"{row['set']:9} {row['metric']:9} loop {row['loop']:.4g} frozen {row['frozen']:.4g} every {row['every']:.4g} "
        f"periodic {row['periodic']:.4g} ({row['periodic_retrains']}) adwin {row['adwin']:.4g} ({row['adwin_retrains']}): {share}, "
        f"{row['cpu_share']:.0%} of its CPU seconds, {row['retrains']} runs"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
