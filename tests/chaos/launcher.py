"""`python -m tests.chaos.launcher SERVICE`: plays tricks on a process, then runs the service in it as it is.

Nothing of this is in the product: the launcher changes the loaded modules of one process.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos import sabotage, stages
from tests.chaos.tricks import TRICKS_VARIABLE, read

Play = Callable[..., None]  # (folder, **options)

PLAYS: Mapping[str, Play] = {
    "tell-stacks": stages.tell_stacks,
    "relay-dies": stages.relay_dies,
    "dies-between": stages.dies_between,
    "object-store-fails": stages.object_store_fails,
    "sends-fail": stages.sends_fail,
    **sabotage.VARIANTS,
}


def play(text: str) -> None:
    folder, tricks = read(text)
    for trick in tricks:
        PLAYS[trick.name](folder, **trick.options)


def main(arguments: list[str], environment: Mapping[str, str]) -> None:
    (service,) = arguments
    play(environment[TRICKS_VARIABLE])
    main_of: Any = importlib.import_module(f"millrace_{service}.__main__")
    main_of.main()


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)  # noqa: TID251  what the harness tells this process
