"""A fork server that is started before all else: imports nothing but the standard library."""

from multiprocessing import get_context
from multiprocessing.forkserver import ensure_running


def start_fork_server(*modules: str) -> None:
    """Let it import these from now on, while this process goes on with something else. Its children have them at once."""
    get_context("forkserver").set_forkserver_preload(list(modules))
    ensure_running()
