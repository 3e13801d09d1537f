"""What a supervisor has to know of a program."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Tier(IntEnum):
    """What stands on what: a higher tier is ended before a lower one."""

    SERVER = 0
    SERVICE = 1


def nothing() -> None:
    """What most programs need before their first start."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the stack. `ready` asks once, in at most about a second, whether it does its work."""

    name: str
    command: tuple[str, ...]
    port: int
    address: str
    ready: Callable[[], bool]
    tier: Tier = Tier.SERVICE
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = nothing
    stop_signal: signal.Signals = signal.SIGTERM
