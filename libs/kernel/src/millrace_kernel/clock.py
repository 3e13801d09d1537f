"""The machine's clock: the only place that reads it."""

import time

from millrace_kernel.time import Instant


class SystemClock:
    """`Clock` as the machine has it."""

    def now(self) -> Instant:
        return Instant(time.time_ns() // 1_000)
