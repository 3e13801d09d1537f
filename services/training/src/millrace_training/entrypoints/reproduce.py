"""`python -m millrace_training.entrypoints.reproduce PIPELINE RUN_ID`: makes a run's artifact again, in this fresh process.

Prints a `Reproduction` as JSON; exit code 0 when the artifacts are equal to the bit, 3 when they are not, 1 with a line on
standard error when it can't be tried.
"""

import sys

import msgspec

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName, RunId
from millrace_training.bootstrap import reproduction
from millrace_training.settings import Settings

_WRONG_USAGE, _DIFFERENT = 2, 3


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write(
            "usage: python -m millrace_training.entrypoints.reproduce PIPELINE RUN_ID\n"
        )
        return _WRONG_USAGE
    pipeline, run_id = arguments
    try:
        found = reproduction(Settings(), PipelineName(pipeline), RunId(run_id))
    except (PermanentError, TransientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0 if found.equal else _DIFFERENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
