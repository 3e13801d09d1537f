"""The table for people, and the figures for tools."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.run import Outcome
from tests.chaos.targets import SINGLE_SERVICES

LEAST_THROUGHPUT, LONGEST_RECOVERY = 0.5, 10.0
_HEADS = (
    "target",
    "store",
    "kills",
    "events",
    "lost",
    "doubled",
    "recovery s",
    "throughput",
    "verdict",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One target on one store. `missed`: goals that were missed, which do not make it fail."""

    target: str
    store: str
    events: int
    seed: int
    outcome: Outcome
    undisturbed_seconds: float

    @property
    def throughput_ratio(self) -> float:
        seconds = self.outcome.seconds
        return self.undisturbed_seconds / seconds if seconds > 0 else 0.0

    @property
    def kills(self) -> int:
        return self.outcome.struck[self.target].kills

    @property
    def recovery(self) -> float:
        """Seconds."""
        return self.outcome.struck[self.target].recovery

    @property
    def good(self) -> bool:
        return self.outcome.verdict.good

    @property
    def missed(self) -> Sequence[str]:
        missed = []
        if self.throughput_ratio < LEAST_THROUGHPUT:
            missed.append(f"throughput below {LEAST_THROUGHPUT:g}")
        if self.target in SINGLE_SERVICES and self.recovery > LONGEST_RECOVERY:
            missed.append(f"recovery over {LONGEST_RECOVERY:g} s")
        return missed

    @property
    def verdict(self) -> str:
        if not self.good:
            return f"FAILED: {len(self.outcome.verdict.problems)} problems"
        return "good" if not self.missed else f"good; missed: {', '.join(self.missed)}"

    def as_json(self) -> dict[str, Any]:
        verdict = self.outcome.verdict
        return {
            "target": self.target,
            "store": self.store,
            "kills": self.kills,
            "events": self.events,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "recovery_seconds": round(self.recovery, 2),
            "throughput_ratio": round(self.throughput_ratio, 3),
            "seed": self.seed,
            "order_violations": verdict.order_violations,
            "differing_sums": verdict.differing_sums,
            "promotions": verdict.promotions,
            "seconds": round(self.outcome.seconds, 1),
            "events_per_second": round(self.events / self.outcome.seconds, 1)
            if self.outcome.seconds
            else 0,
            "deaths": {name: n for name, n in self.outcome.deaths.items() if n},
            "exits": dict(self.outcome.exits),
            "verdict": self.verdict,
            "problems": list(verdict.problems),
        }

    def cells(self) -> tuple[str, ...]:
        verdict = self.outcome.verdict
        return (
            self.target,
            self.store,
            str(self.kills),
            f"{self.events:,}",
            str(verdict.lost),
            str(verdict.doubled),
            f"{self.recovery:.1f}",
            f"{self.throughput_ratio:.2f}",
            self.verdict,
        )


def table(rows: Sequence[Row]) -> str:
    """Aligned columns: words to the left, numbers to the right."""
    cells = [_HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    numbers = range(2, len(_HEADS) - 1)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def write(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
