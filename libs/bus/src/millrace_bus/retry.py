"""Waiting longer after each failure, up to a bound."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter on the upper half so that readers that failed together do not return together."""

    first_seconds: float = 0.1
    longest_seconds: float = 10.0

    def delay(self, attempt: int, chance: Callable[[], float]) -> float:
        """Seconds to wait after the attempt-th failure (1, 2, …); `chance` gives a number in [0, 1)."""
        ceiling = min(self.longest_seconds, self.first_seconds * float(2 ** min(attempt - 1, 30)))
        return ceiling * (0.5 + 0.5 * chance())
