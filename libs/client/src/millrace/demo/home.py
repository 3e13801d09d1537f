"""Where the demo's stack lives, and what may be thrown away for it."""

import shutil
from collections.abc import Callable

from millrace.errors import ClientError
from millrace.settings import Settings
from millrace.supervisor.control import end_stack


def make_ready(settings: Settings, say: Callable[[str], None]) -> bool:
    """True: the home is new and empty. False: it is somebody's, with state of their own, and stays as it is.

    What an earlier demo left is ended and removed; a home counts as the demo's until a person applies a pipeline of
    their own to it.
    """
    home = settings.home
    if settings.demo_mark.is_file():
        end_stack(settings, say)
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise ClientError(
                f"what an earlier demo left in {home} can't be removed: {error}"
            ) from error
    elif home.is_dir() and any(home.iterdir()):
        return False
    home.mkdir(parents=True, exist_ok=True)
    settings.demo_mark.touch()
    return True


def free_name(wanted: str, taken: set[str]) -> str:
    """`bikes`, or `bikes-2`, `bikes-3` … where that is taken."""
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
