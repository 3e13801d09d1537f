"""A clock that stands still until it is told."""

from millrace_kernel.time import Duration, Instant


class FixedClock:
    """The fake implementation of `millrace_kernel.time.Clock`."""

    def __init__(self, at: Instant) -> None:
        self._at = at

    def now(self) -> Instant:
        return self._at

    def advance(self, by: Duration) -> None:
        self._at = Instant(self._at + by)
