"""A pipeline's money for a day: what is spent of it, what the next run will cost, and whether that is too much.

Kept is what runs have used, not what that was worth: money is always at the prices of now, which the service's operator sets.
"""

from dataclasses import dataclass, replace

from millrace_kernel.pipeline import Trigger
from millrace_training.domain.costs import Cost, Prices, money
from millrace_training.domain.events import RunFailed, RunOutcome, RunSkipped
from millrace_training.domain.policies import Policy

_LAST = 5  # runs that say what the next one will cost


@dataclass(frozen=True, slots=True)
class Used:
    """What can be added up and has a price: `byte_seconds` is memory for as long as it was taken. Unknown joules are none."""

    cpu_seconds: float = 0.0
    byte_seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.cpu_seconds + other.cpu_seconds,
            self.byte_seconds + other.byte_seconds,
            self.joules + other.joules,
        )


NOTHING_USED = Used()


@dataclass(frozen=True, slots=True)
class Spending:
    """What a pipeline's runs have used: all of `day` (days since 1970, UTC), and the last full runs and updates, newest last.

    A run uses what its fit does and what its model card does, which comes later.
    """

    day: int = 0
    today: Used = NOTHING_USED
    full: tuple[Used, ...] = ()
    updates: tuple[Used, ...] = ()


NOTHING_SPENT = Spending()


def charged(spending: Spending, day: int, outcome: RunOutcome) -> Spending:
    """After a run. One that failed is paid for, and says nothing of what the next one costs."""
    if isinstance(outcome, RunSkipped):
        return spending
    if isinstance(outcome, RunFailed):
        failed = used_by(outcome.cost or Cost(outcome.cpu_seconds))
        return replace(spending, day=day, today=_of(spending, day) + failed)
    candidate = outcome.candidate
    used = used_by(candidate.cost or Cost(candidate.cpu_seconds))
    after = replace(spending, day=day, today=_of(spending, day) + used)
    if outcome.run.trigger is Trigger.UPDATE:
        return replace(after, updates=(*spending.updates, used)[-_LAST:])
    return replace(after, full=(*spending.full, used)[-_LAST:])


def charged_card(spending: Spending, day: int, cost: Cost) -> Spending:
    """After the model card of the last full run was made, or failed to be: such a run costs that, too."""
    full, used = spending.full, used_by(cost)
    if full:
        full = (*full[:-1], full[-1] + used)
    return Spending(day, _of(spending, day) + used, full, spending.updates)


def used_by(cost: Cost) -> Used:
    return Used(cost.cpu_seconds, cost.peak_memory_bytes * cost.wall_seconds, cost.joules or 0.0)


def beyond(policy: Policy, spending: Spending, day: int, trigger: Trigger) -> str | None:
    """Why the next run is not paid for, in words; None when it is, or when nothing bounds it or has a price."""
    budget, spent = policy.money_per_day, _money(policy.prices, _of(spending, day))
    if budget is None or spent is None:
        return None
    currency, expected = policy.prices.currency, _expected(policy.prices, spending, trigger)
    told = f"{spent:.4g} of {budget:g} {currency} of today (UTC) are spent"
    if spent >= budget:
        return told
    if spent + expected <= budget:
        return None
    return f"{told}, and {_next(spending, trigger)} costs about {expected:.4g} {currency}"


def in_words(policy: Policy, spending: Spending, day: int, trigger: Trigger) -> str:
    """What a request says of the money; empty when the file does not bound it."""
    if policy.money_per_day is None:
        return ""
    spent = _money(policy.prices, _of(spending, day))
    if spent is None:
        return "; money_per_day is not kept: nothing has a price here (TRAINING_PRICE_CPU_HOUR and others)"
    expected = _expected(policy.prices, spending, trigger)
    return (
        f"; {spent:.4g} of {policy.money_per_day:g} {policy.prices.currency} spent, "
        f"{_next(spending, trigger)} costs about {expected:.4g}"
    )


def _of(spending: Spending, day: int) -> Used:
    return spending.today if spending.day == day else NOTHING_USED


def _alike(spending: Spending, trigger: Trigger) -> tuple[Used, ...]:
    return spending.updates if trigger is Trigger.UPDATE else spending.full


def _next(spending: Spending, trigger: Trigger) -> str:
    count, kind = len(_alike(spending, trigger)), "update" if trigger is Trigger.UPDATE else "run"
    past = f"as the last {count} did" if count > 1 else "as the last one did"
    return f"the next {kind}, {past}," if count else f"the first {kind}, of which nothing is known,"


def _expected(prices: Prices, spending: Spending, trigger: Trigger) -> float:
    """The mean of the last runs of the kind; of a first one nothing is known, and it is let through."""
    alike = _alike(spending, trigger)
    together = sum(alike, NOTHING_USED)
    return (_money(prices, together) or 0.0) / len(alike) if alike else 0.0


def _money(prices: Prices, used: Used) -> float | None:
    """None where nothing has a price."""
    # so much memory for so long costs what one byte does for as many times as long
    return money(Cost(used.cpu_seconds, used.byte_seconds, 1, used.joules), prices)
