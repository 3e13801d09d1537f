"""Which runs go first when more are asked for than may go on at once.

A run's rank is its trigger's, less one for each `PATIENCE` runs that were asked for later and taken first. So what is
urgent goes first and nothing waits for ever: once `MOST_PASSED` later runs have gone before a run, none that is asked
for from then on does. Among equals the pipeline that has cost the least lately goes first (least attained service,
Nuyens and Wierman, The Foreground-Background queue, 2008), then what was asked for first. No clock and no chance take
part: the order follows from what the database holds, the same for every process that looks.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Trigger

PATIENCE = 8  # later runs that go before one until it counts as more urgent
RANKS: Mapping[Trigger, int] = {
    Trigger.COMMAND: 0,  # a person waits
    Trigger.FIRST: 1,  # nothing good answers until then
    Trigger.PERFORMANCE: 2,
    Trigger.DRIFT: 2,
    Trigger.SCHEDULE: 3,
    Trigger.VOLUME: 3,
    Trigger.UPDATE: 4,  # the next one makes up for it
}
MOST_PASSED = PATIENCE * (max(RANKS.values()) + 1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits. `number` grows with every run that is asked for, whatever its pipeline."""

    run_id: RunId
    pipeline: PipelineName
    trigger: Trigger
    number: int
    cut_off: bool = False  # it had begun when its process ended


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went before: the numbers of runs that have been taken, as far back as the oldest that waits, and the CPU
    seconds that each pipeline's runs have cost lately."""

    taken: Collection[int] = ()
    spent: Mapping[PipelineName, float] = field(default_factory=dict)


def next_runs(waiting: Iterable[Waiting], traffic: Traffic, room: int) -> list[Waiting]:
    """As many as there is room for, each in the light of those taken before it. Nothing waits while there is room."""
    left, taken = list(waiting), sorted(traffic.taken)
    chosen: list[Waiting] = []
    while left and len(chosen) < room:
        first = min(left, key=lambda run: _place(run, taken, traffic.spent))
        left.remove(first)
        chosen.append(first)
        taken.insert(bisect_right(taken, first.number), first.number)
    return chosen


def passed(number: int, taken: list[int]) -> int:
    """How many runs that were asked for later have gone first. `taken` is sorted."""
    return len(taken) - bisect_right(taken, number)


def _place(
    run: Waiting, taken: list[int], spent: Mapping[PipelineName, float]
) -> tuple[bool, int, float, int]:
    """What was cut off goes on first: what it has cost is not to be lost, and it has had its turn already."""
    rank = RANKS[run.trigger] - passed(run.number, taken) // PATIENCE
    return not run.cut_off, rank, spent.get(run.pipeline, 0.0), run.number
