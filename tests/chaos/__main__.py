"""`python -m tests.chaos`: kill things while a stream runs, and show that nothing is lost and nothing doubled."""

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import broken, report, smoke
from tests.chaos.blueprint import Store
from tests.chaos.session import Session, say_which_run
from tests.chaos.targets import TARGETS, Dose, makes_sense


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    said = logging.StreamHandler(sys.stdout)
    said.addFilter(say_which_run)
    logging.basicConfig(level=logging.WARNING, format="%(run)s%(message)s", handlers=[said])
    logging.getLogger("tests.chaos").setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says every outage we make
    home = Path(tempfile.mkdtemp(prefix="millrace-chaos-"))
    home.chmod(0o755)  # PostgreSQL runs as another user when we are root
    good = False
    try:
        good = asyncio.run(_work(options, home))
    except (KeyboardInterrupt, asyncio.CancelledError):
        logging.getLogger("tests.chaos").warning("stopped before the end")
    finally:
        if good and not options.keep:
            shutil.rmtree(home, ignore_errors=True)
        else:
            logging.getLogger("tests.chaos").warning("logs and states are in %s", home)
    return 0 if good else 1


async def _work(options: argparse.Namespace, home: Path) -> bool:
    task = asyncio.current_task()
    assert task is not None
    # as Ctrl-C does: nothing that was started may stay behind
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    dose = Dose(options.seed, options.kills, options.unreachable)
    session = Session(home, options.events, dose, keep=options.keep)
    if options.smoke:
        good = await smoke.run(session)
    elif options.check_the_check:
        good = await broken.check_the_check(session)
    elif options.broken:
        good = await broken.run(session, options.broken, Store(options.store or Store.SQLITE))
    else:
        good = await _targets(options, session)
    if session.rows:
        sys.stdout.write(report.table(session.rows) + "\n")
        report.write(session.rows, options.output)
        good = session.summed_up(goals=not options.smoke) and good
    return good


async def _targets(options: argparse.Namespace, session: Session) -> bool:
    stores = [Store(options.store)] if options.store else list(Store)
    for store in stores:
        for target in options.target or TARGETS:
            if makes_sense(target, store):
                await session.run(store, [target])
            else:
                sys.stdout.write(f"{target} on {store}: skipped, it has no process of its own\n")
    return True


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--target", action="append", choices=TARGETS, help="may be repeated; default: all of them"
    )
    parser.add_argument("--store", choices=[store.value for store in Store], help="default: both")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=5, help="of each target")
    parser.add_argument(
        "--unreachable", type=float, default=30.0, help="seconds without the broker"
    )
    parser.add_argument("--output", type=Path, default=Path(".millrace/chaos.json"))
    parser.add_argument("--broken", choices=broken.VARIANTS, help="a sabotaged bus: must fail")
    parser.add_argument(
        "--check-the-check", action="store_true", help="all broken variants: 0 if each fails"
    )
    parser.add_argument("--smoke", action="store_true", help="each target once, in a few runs")
    parser.add_argument("--keep", action="store_true", help="logs and states of good runs, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
