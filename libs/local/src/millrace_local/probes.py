"""Waiting for something to become true, without a fixed sleep."""

import time
from collections.abc import Callable

_PAUSE_SECONDS = 0.05


def wait_until(probe: Callable[[], bool], timeout: float) -> bool:
    """Ask until the answer is yes or `timeout` seconds are over; asks at least once. Returns the last answer."""
    deadline = time.monotonic() + timeout
    while not probe():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True
