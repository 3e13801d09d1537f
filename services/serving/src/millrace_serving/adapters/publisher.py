"""The answers given over HTTP, on their way to the stream: taken over at once, sent behind, in order, in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import override

from millrace_bus.broker import Broker, Producer, TopicPartition
from millrace_bus.outputs import Outputs, by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant
from millrace_serving.application.ports import Publisher
from millrace_serving.domain.events import PredictionMade
from millrace_telemetry.tracing import NO_TRACING, Tracing

logger = logging.getLogger(__name__)

ROOM = 10_000
BATCH = 1_000


class BusPublisher(Publisher):
    """A buffer of `room` predictions and one sender.

    Its source is this start of this instance, whose sequence counts from 0: readers drop what a lost acknowledgement
    makes it send twice. A batch leaves only when the one before is acknowledged. Cancelled, it first sends what it has
    taken over, and what is `expected`.
    """

    def __init__(
        self,
        broker: Broker,
        wire: WireTable,
        *,
        instance: str,
        started: Instant,
        chance: Callable[[], float],
        room: int = ROOM,
        backoff: Backoff | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._outputs = Outputs(f"millrace/serving/requests/{instance}/{started}", wire, tracing)
        self._chance = chance
        self._room = room
        self._backoff = backoff or Backoff()
        self._waiting: deque[PredictionMade] = deque()
        self._changed = asyncio.Condition()
        self._sent = 0
        self._expected = 0
        self._stopping = False
