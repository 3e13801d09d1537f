"""What a stack is to be like before it is started: what each fault needs of it, put together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

STREAM_SERVICES = ("ingestion", "features", "serving")
SQL_SERVICES = ("training", "registry", "monitoring")
SERVICES = (*STREAM_SERVICES, *SQL_SERVICES)


class Store(StrEnum):
    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Trick:
    """Something the launcher does to a service's process before it runs: see `launcher`."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How many instances of each service, on what, and with which tricks played on them."""

    store: Store
    instances: Mapping[str, int] = field(default_factory=dict)
    tricks: Mapping[str, tuple[Trick, ...]] = field(default_factory=dict)
    proxied: bool = False  # clients reach the broker through a TCP proxy
    small_disk: str | None = None  # the service whose state lies on a disk of its own
    session_timeout: float = 10.0

    def with_trick(self, service: str, trick: Trick) -> "Blueprint":
        played = (*self.tricks.get(service, ()), trick)
        return replace(self, tricks={**self.tricks, service: played})

    def with_two_of(self, *services: str) -> "Blueprint":
        return replace(
            self,
            instances={**self.instances, **dict.fromkeys(services, 2)},
            session_timeout=6.0,  # the broker's least
        )

    def through_a_proxy(self) -> "Blueprint":
        return replace(self, proxied=True)

    def on_a_small_disk(self, service: str) -> "Blueprint":
        return replace(self, small_disk=service)
