"""Explore schedules of the protocol's model at length: `python -m millrace_testkit.explore --form sql --seconds 600`."""

import argparse
import logging
import sys
import time

from millrace_testkit.protocol_checks import ViolationError
from millrace_testkit.protocol_machine import CHAIN, SQL, STREAM, play

FORMS = {"stream": STREAM, "sql": SQL, "chain": CHAIN}


def main() -> int:
    """Play schedule after schedule; 1 when one of them broke the guarantee."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=FORMS, default="stream")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1_000_000, help="how many schedules at most")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long at most")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the services' own words about their many deaths
    began, played, violations = time.monotonic(), 0, 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        if time.monotonic() - began > arguments.seconds:
            break
        played += 1
        try:
            play(FORMS[arguments.form], seed)
        except ViolationError as error:
            violations += 1
            _say(f"seed {seed}: {error}")
    seconds = time.monotonic() - began
    _say(f"{arguments.form}: {played} schedules in {seconds:.0f} s, {violations} violations")
    return 1 if violations else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
