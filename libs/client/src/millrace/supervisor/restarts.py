"""When a program that died is started again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Restarts:
    """At once after the first death, then ever later, until it has run well for a while.

    A program that was killed is back as soon as it can be; one that can't start doesn't burn the machine.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    well_after_seconds: float = 10.0

    def deaths_after(self, deaths: int, lived_seconds: float) -> int:
        """How many deaths in a row count, with the one that has just come."""
        return 1 if lived_seconds >= self.well_after_seconds else deaths + 1

    def delay(self, deaths: int) -> float:
        """Seconds to wait after so many deaths in a row (1, 2, …)."""
        if deaths <= 1:
            return 0.0
        return float(min(self.longest_seconds, self.first_seconds * 2 ** min(deaths - 2, 30)))
