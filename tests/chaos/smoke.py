"""Each target once, several in one stream: what `make test` has time for."""

from dataclasses import replace

from tests.chaos.blueprint import SERVICES, Store
from tests.chaos.broken import check_the_check
from tests.chaos.session import Session
from tests.chaos.targets import RELAYS

BROKEN_EVENTS = 1_500


async def run(session: Session) -> bool:
    """Whether the broken variants were noticed; what the targets came to is in the session's rows."""
    once = replace(session.dose, kills=1, unreachable=12.0)
    await session.run(Store.SQLITE, [*SERVICES, "kafka", *RELAYS], once)
    faults = ["broker-unreachable", "disk-full", "object-store", "lost-sends", "between"]
    await session.run(Store.SQLITE, faults, once)
    await session.run(Store.SQLITE, ["rebalance", "zombie"], once)
    await session.run(Store.POSTGRES, [*SERVICES, "kafka", "postgres", *RELAYS], once)
    return await check_the_check(
        session.shorter(BROKEN_EVENTS), ["commit-before-send", "fence-off"]
    )
