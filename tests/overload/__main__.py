"""`python -m tests.overload`: more than the stack can take, for minutes; and every service slow once.

Starts a real Kafka and the six services in a folder of its own, prints a table, writes `.millrace/overload.json`, and
exits with 1 when anything was lost or doubled, or a service grew beyond its limit.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.overload.budget import LIMITS_MIB
from tests.overload.scenarios import FIRST_MODEL_AFTER, Outcome, Plan, Scenarios
from tests.overload.system import SERVICES, apply_pipeline, stack_in

RESULT = Path(".millrace") / "overload.json"
OVERLOAD, FAT = "overload", "fat"


def main() -> int:
    arguments = _arguments()
    plan = Plan(arguments.minutes, arguments.times, arguments.most_events, arguments.slow_seconds)
    with (
        tempfile.TemporaryDirectory(prefix="millrace-overload-", dir=arguments.folder) as home,
        stack_in(Path(home)) as stack,
    ):
        apply_pipeline(stack, first_model_after=FIRST_MODEL_AFTER)
        scenarios = Scenarios(stack, plan, say)
        outcomes = asyncio.run(_play(scenarios, arguments.only))
    table(scenarios.rate, outcomes)
    write(scenarios, outcomes)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


async def _play(scenarios: Scenarios, only: Sequence[str]) -> list[Outcome]:
    await scenarios.prepare()
    say(f"sustainable: about {scenarios.rate:.0f} events a second")
    outcomes = []
    if OVERLOAD in only:
        outcomes.append(await scenarios.too_much())
    if FAT in only:
        outcomes.append(await scenarios.fat())
    slowly = [service for service in SERVICES if service in only]
    return outcomes + [await scenarios.slow(service) for service in slowly]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.overload", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long it is too much")
    parser.add_argument("--times", type=float, default=10.0, help="of the sustainable rate")
    parser.add_argument(
        "--most-events",
        type=int,
        default=1_000_000,
        help="on the topic, and as many over HTTP, while it is too much: the backlog is worked off at the sustainable rate",
    )
    parser.add_argument("--slow-seconds", type=float, default=20.0, help="how long each is slow")
    parser.add_argument("--folder", type=Path, help="where the stack's own folder is made")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(OVERLOAD, FAT, *SERVICES),
        default=(OVERLOAD, FAT, *SERVICES),
        help="which parts",
    )
    return parser.parse_args()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def table(rate: float, outcomes: Sequence[Outcome]) -> None:
    heads = ("target", "offered", "accepted", "refused", "lost", "doubled", "settled after s", "GB")
    say(f"\n{heads[0]:<16}" + "".join(f"{head:>16}" for head in heads[1:]))
    for one in outcomes:
        cells = (one.offered, one.accepted, one.refused, one.lost, one.doubled)
        numbers = "".join(f"{cell:>16}" for cell in cells)
        say(f"{one.target:<16}{numbers}{one.settled_after_seconds:>16.1f}{one.broker_gb:>16.2f}")
    say("\npeak MiB        " + "".join(f"{name:>12}" for name in SERVICES))
    say(f"{'limit':<16}" + "".join(f"{LIMITS_MIB[name]:>12}" for name in SERVICES))
    for one in outcomes:
        peaks = "".join(f"{one.peak_mib.get(name, 0):>12.0f}" for name in SERVICES)
        say(f"{one.target:<16}{peaks}{'  too large' if one.too_large else ''}")
    say(f"\nsustainable: about {rate:.0f} events a second")


def write(scenarios: Scenarios, outcomes: Sequence[Outcome]) -> None:
    result = {
        "sustainable_per_second": round(scenarios.rate),
        "minutes": scenarios.plan.minutes,
        "times": scenarios.plan.times,
        "limits_mib": LIMITS_MIB,
        "scenarios": [outcome.as_json() for outcome in outcomes],
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    say(f"written to {RESULT}")


if __name__ == "__main__":
    sys.exit(main())
