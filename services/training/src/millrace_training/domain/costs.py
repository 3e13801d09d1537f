"""What runs cost: what was used, what that is in money, and what was gained for it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace_kernel.pipeline import LOWER_IS_BETTER

_PLAIN = ("mae", "log_loss", "rmse", "rouge_l")  # what a run measures whatever the file names
_SECONDS_AN_HOUR = 3600
_BYTES_A_GIGABYTE = 1e9
_JOULES_A_KILOWATT_HOUR = 3.6e6


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: the processes that learnt, measured and, later, wrote the model card.

    `wall_seconds` is how long they took, `peak_memory_bytes` the most that one of them had resident, libraries included.
    `joules` is None where the machine does not tell.
    """

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    joules: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        """Both, one after the other. What only one of them knows is not known of both."""
        joules = None
        if self.joules is not None and other.joules is not None:
            joules = self.joules + other.joules
        return Cost(
            self.cpu_seconds + other.cpu_seconds,
            self.wall_seconds + other.wall_seconds,
            max(self.peak_memory_bytes, other.peak_memory_bytes),
            joules,
        )


NOTHING = Cost(joules=0.0)  # of what no process was started for: as much is known as of any other


@dataclass(frozen=True, slots=True)
class Prices:
    """In `currency`; None: not priced."""

    cpu_hour: float | None = None
    gigabyte_hour: float | None = None  # of peak memory, for as long as the run took
    kilowatt_hour: float | None = None
    currency: str = ""


NO_PRICES = Prices()


def money(cost: Cost, prices: Prices) -> float | None:
    """The parts that have a price and were measured, together; None when there is none."""
    hours = cost.wall_seconds / _SECONDS_AN_HOUR
    parts = [
        (prices.cpu_hour, cost.cpu_seconds / _SECONDS_AN_HOUR),
        (prices.gigabyte_hour, cost.peak_memory_bytes / _BYTES_A_GIGABYTE * hours),
        (prices.kilowatt_hour, _kilowatt_hours(cost.joules)),
    ]
    priced = [price * used for price, used in parts if price is not None and used is not None]
    return sum(priced) if priced else None


def _kilowatt_hours(joules: float | None) -> float | None:
    return None if joules is None else joules / _JOULES_A_KILOWATT_HOUR


def main_metric(named: str | None, metrics: Mapping[str, float]) -> str:
    """What points are counted in: the metric that the file names first, else the label kind's own."""
    return next((name for name in (named, *_PLAIN) if name and name in metrics), "")


def points_gained(
    metric: str, candidate: Mapping[str, float], champion: Mapping[str, float]
) -> float | None:
    """By how many points the candidate is better than the champion on the same holdout; below zero: worse.

    A point is one hundredth: of 1 for what is a share (accuracy), of the champion's value for a loss (mae: one per cent).
    None when there was nothing to compare with.
    """
    if metric not in candidate or metric not in champion:
        return None
    new, old = candidate[metric], champion[metric]
    if metric in LOWER_IS_BETTER:
        return 100.0 * (old - new) / abs(old) if old else None
    return 100.0 * (new - old)


@dataclass(frozen=True, slots=True)
class Spent:
    """One run's account. `points`: how much better than the champion it was; None when it was compared with none."""

    cost: Cost
    promoted: bool
    points: float | None


@dataclass(frozen=True, slots=True)
class Account:
    """All runs of a pipeline together. What can't be known is None, never zero."""

    runs: int
    promotions: int
    cost: Cost  # `joules` None: of at least one run nobody knows
    money: float | None
    money_per_promotion: float | None
    cpu_seconds_per_promotion: float | None
    points: float  # gained by those that were promoted
    money_per_point: float | None
    cpu_seconds_per_point: float | None


def account_of(spent: Iterable[Spent], prices: Prices) -> Account:
    """Failed, rejected and skipped runs are what the promoted ones cost as well."""
    all_of_them = list(spent)
    total = _total([each.cost for each in all_of_them])
    priced = [money(each.cost, prices) for each in all_of_them]
    known = [each for each in priced if each is not None]
    in_money = sum(known) if known else None
    promotions = sum(each.promoted for each in all_of_them)
    points = sum(each.points for each in all_of_them if each.promoted and each.points is not None)
    return Account(
        runs=len(all_of_them),
        promotions=promotions,
        cost=total,
        money=in_money,
        money_per_promotion=_per(in_money, promotions),
        cpu_seconds_per_promotion=_per(total.cpu_seconds, promotions),
        points=points,
        money_per_point=_per(in_money, points),
        cpu_seconds_per_point=_per(total.cpu_seconds, points),
    )


def _total(costs: list[Cost]) -> Cost:
    if not costs:
        return Cost()
    first, *others = costs
    return sum(others, first)


def _per(amount: float | None, of: float) -> float | None:
    """Nothing was bought, or it was worse than nothing, or next to it: then no price can be named."""
    if amount is None or of <= 0:
        return None
    price = amount / of
    return price if math.isfinite(price) else None
