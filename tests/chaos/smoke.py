"""Each target once, several in one stream: what `make test` has time for.

Two lanes of runs go side by side, each run on a stack of its own: a stack waits much of the time, for what was killed and
for what is to come to rest.
"""

import asyncio
from dataclasses import replace

from tests.chaos.blueprint import SERVICES, Store
from tests.chaos.broken import check_the_check
from tests.chaos.session import Session
from tests.chaos.targets import RELAYS, Dose

BROKEN_EVENTS = 1_500


async def run(session: Session) -> bool:
    """Whether the broken variants were noticed; what the targets came to is in the session's rows."""
    once = replace(session.dose, kills=1, unreachable=12.0)
    async with asyncio.TaskGroup() as lanes:
        lanes.create_task(_on_sqlite(session, once))
        noticed = lanes.create_task(_on_postgres_and_broken(session, once))
    session.rows.sort(key=lambda row: row.store, reverse=True)
    return noticed.result()


async def _on_sqlite(session: Session, once: Dose) -> None:
    await session.run(Store.SQLITE, [*SERVICES, "kafka", *RELAYS], once)
    faults = ["broker-unreachable", "disk-full", "object-store", "lost-sends", "between"]
    await session.run(Store.SQLITE, faults, once)
    await session.run(Store.SQLITE, ["rebalance", "zombie"], once)


async def _on_postgres_and_broken(session: Session, once: Dose) -> bool:
    await session.run(Store.POSTGRES, [*SERVICES, "kafka", "postgres", *RELAYS], once)
    return await check_the_check(
        session.shorter(BROKEN_EVENTS), ["commit-before-send", "fence-off"]
    )
