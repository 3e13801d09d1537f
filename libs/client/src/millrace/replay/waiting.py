"""Waiting until everything that was sent has come out at the other end."""

import asyncio
from collections.abc import Callable, Collection

from millrace.feed import follow
from millrace_bus.broker import Broker
from millrace_kernel.ids import PipelineName

PREDICTIONS = "millrace.v1.PredictionMade"
STREAM_ROLES = ("PREDICTION_ROLE_CHAMPION", "PREDICTION_ROLE_FALLBACK")


class StalledError(Exception):
    """Nothing has come for so long that the rest can't be expected; `missing` says how much that is."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} events are not scored yet")
        self.missing = missing


async def until_scored(
    broker: Broker,
    pipeline: PipelineName,
    event_ids: Collection[str],
    *,
    patience_seconds: float,
    progress: Callable[[int], None],
) -> None:
    """Return when each event has its prediction. Raises StalledError when none has come for `patience_seconds`."""
    missing = set(event_ids)
    loop = asyncio.get_running_loop()
    newest = loop.time()
    async for batch in follow(broker, (PREDICTIONS,), from_beginning=True):
        before = len(missing)
        for each in batch:
            if each.pipeline == pipeline and each.fields["role"] in STREAM_ROLES:
                missing.discard(each.fields["event_id"])
        if len(missing) < before:
            newest = loop.time()
            progress(len(event_ids) - len(missing))
        if not missing:
            return
        if loop.time() - newest > patience_seconds:
            raise StalledError(len(missing))
