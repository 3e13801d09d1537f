"""The targets by name: which faults, how often, on which stores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.blueprint import SERVICES, SQL_SERVICES, STREAM_SERVICES, Store
from tests.chaos.faults import (
    DiesBetween,
    Fault,
    KillBroker,
    KillDatabase,
    KillService,
    Rebalance,
    RelayDies,
    StaleOwner,
    Zombie,
)
from tests.chaos.outages import BrokerUnreachable, DiskFull, ObjectStoreFails, SendsFail
from tests.chaos.run import Plan

DISK_FULL = "disk-full"
RELAYS = tuple(f"{service}-relay" for service in SQL_SERVICES)


@dataclass(frozen=True, slots=True)
class Dose:
    """How much of it: how often each target is struck, and how long the broker stays away."""

    seed: int = 1
    kills: int = 5
    unreachable: float = 30.0

    @property
    def is_small(self) -> bool:
        return self.kills == 1


Make = Callable[[Dose], Sequence[tuple[Fault, int]]]  # faults, and how often each strikes


def _service(name: str) -> Make:
    return lambda dose: [(KillService(f"{name}-0"), dose.kills)]


def _relay(name: str) -> Make:
    return lambda dose: [(RelayDies(name, dose.seed, dose.kills), 2)]


def _rebalance(dose: Dose) -> Sequence[tuple[Fault, int]]:
    services = ("features", "monitoring") if dose.is_small else SERVICES
    return [(Rebalance(*services), max(len(services), dose.kills))]


def _zombie(dose: Dose) -> Sequence[tuple[Fault, int]]:
    services = (
        ("features", "monitoring") if dose.is_small else ("features", "monitoring", "serving")
    )
    return [(Zombie(*services), max(len(services), dose.kills)), (StaleOwner(), 1)]


def _all(store: Store) -> Make:
    def make(dose: Dose) -> Sequence[tuple[Fault, int]]:
        rounds = max(1, dose.kills // 5)
        servers: list[Fault] = [KillBroker()]
        if store is Store.POSTGRES:
            servers.append(KillDatabase())
        return [
            (fault, rounds)
            for fault in (*(KillService(f"{name}-0") for name in SERVICES), *servers)
        ]

    return make


_MAKERS: Mapping[str, Make] = {
    **{name: _service(name) for name in SERVICES},
    **{f"{name}-relay": _relay(name) for name in SQL_SERVICES},
    "kafka": lambda dose: [(KillBroker(), dose.kills)],
    "postgres": lambda dose: [(KillDatabase(), dose.kills)],
    "rebalance": _rebalance,
    "zombie": _zombie,
    "broker-unreachable": lambda dose: [
        (BrokerUnreachable(dose.unreachable), max(1, dose.kills // 5))
    ],
    DISK_FULL: lambda dose: [(DiskFull(), max(1, dose.kills // 2))],
    "object-store": lambda dose: [(ObjectStoreFails(), 1)],
    "lost-sends": lambda dose: [(SendsFail(STREAM_SERVICES, dose.seed), 1)],
    "between": lambda dose: [
        (DiesBetween(*STREAM_SERVICES), max(len(STREAM_SERVICES), dose.kills))
    ],
}
TARGETS = (*SERVICES, *RELAYS, "kafka", "postgres", "all", "rebalance", "zombie", "broker-unreachable", DISK_FULL, "object-store", "lost-sends", "between")  # fmt: skip
SINGLE_SERVICES = frozenset({*SERVICES, *RELAYS})


def makes_sense(target: str, store: Store) -> bool:
    """SQLite has no process of its own to kill."""
    return target != "postgres" or store is Store.POSTGRES


def plan(name: str, store: Store, targets: Sequence[str], dose: Dose) -> Plan:
    """One run in which all these targets are struck."""
    makers = {target: _all(store) if target == "all" else _MAKERS[target] for target in targets}
    return Plan(name, store, {target: make(dose) for target, make in makers.items()})
