"""`python -m millrace.supervisor [NAME ...]`: the supervisor of a detached stack; its output is its log."""

import sys
from collections.abc import Sequence

from millrace.errors import ClientError
from millrace.settings import load
from millrace.supervisor.running import supervise
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import rfc3339


def report(program: str, what: str) -> None:
    sys.stdout.write(f"{rfc3339(SystemClock().now())} {program} {what}\n")
    sys.stdout.flush()


def main(only: Sequence[str]) -> int:
    try:
        supervise(load(), only, report)
    except ClientError as error:
        report("supervisor", f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
