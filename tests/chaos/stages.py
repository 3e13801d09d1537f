"""Tricks that a sound process must survive: it dies, or is failed, at the worst of moments."""

import asyncio
import faulthandler
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import obstore
from obstore.exceptions import GenericError
from tests.chaos.tricks import Deaths

from millrace_bus.kafka import BrokerAwayError, KafkaProducer
from millrace_bus.relay import Relay
from millrace_bus.stream import StreamWorker


def tell_stacks(folder: Path) -> None:
    """On SIGUSR1, write what every thread is doing: to see why something does not go on."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def relay_dies(folder: Path, *, seed: int, kills: int) -> None:
    """Die `kills` times around what the relay does, at seeded moments: with rows read and nothing sent, or with all
    of it acknowledged by the broker and no row deleted yet."""
    deaths, looks = Deaths(folder, "relay"), Deaths(folder, "relay-looks")

    def may_die(share: float) -> None:
        count = deaths.count
        looks.add()
        if count < kills and np.random.default_rng([seed, 3, looks.count]).random() < share:
            deaths.add()
            die()

    owed, paid = Relay._owed, Relay._paid

    def dies_before_sending(self: Relay) -> Any:
        found = owed(self)
        if found:
            may_die(0.35)
        return found

    def dies_before_deleting(self: Relay, numbers: list[int]) -> None:
        may_die(0.35)
        paid(self, numbers)

    Relay._owed = dies_before_sending
    Relay._paid = dies_before_deleting


def dies_between(folder: Path, *, armed_by: str) -> None:
    """Die between the acknowledgement of a stream's outputs and the write of its state, whenever a file asks for it."""
    send = StreamWorker._send
    order = folder.parents[1] / armed_by

    async def dies_after(self: StreamWorker, producer: Any, messages: Sequence[Any]) -> None:
        await send(self, producer, messages)
        if messages and order.exists():
            order.unlink()
            Deaths(folder, "between").add()
            die()

    StreamWorker._send = dies_after


def object_store_fails(folder: Path, *, every: int, first: int) -> None:
    """Every so many writes the library says that the store is away: of objects, and of the lake's tables."""
    count = Deaths(folder, "writes")
    failed = Deaths(folder, "failed-writes")

    def fails() -> bool:
        count.add()
        if (count.count - first) % every:
            return False
        failed.add()
        return True

    put = obstore.put

    def failing_put(*arguments: Any, **named: Any) -> Any:
        if fails():
            raise GenericError("Generic S3 error: Error performing PUT: 503 Slow Down")
        return put(*arguments, **named)

    obstore.put = failing_put
    _fail_the_lake(fails)


def _fail_the_lake(fails: Any) -> None:
    """Only in a process that has the lake."""
    try:
        from deltalake.exceptions import DeltaError

        from millrace_training.adapters.lake import delta as lake
    except ImportError:
        return
    write = lake.write_deltalake

    def failing_write(*arguments: Any, **named: Any) -> None:
        if fails():
            raise DeltaError("Generic S3 error: Error performing PUT: 503 Slow Down")
        write(*arguments, **named)

    lake.write_deltalake = failing_write


def sends_fail(folder: Path, *, seed: int, share: float, most: int) -> None:
    """Some sends fail: half of them before anything left, half with all of it appended and the answer lost."""
    send = KafkaProducer.send
    failed = Deaths(folder, "sends")
    chance = np.random.default_rng([seed, 4, failed.count, os.getpid()])

    async def failing(self: KafkaProducer, topic: str, partition: int, messages: Any) -> None:
        drawn = chance.random()
        if drawn >= share or failed.count >= most:
            return await send(self, topic, partition, messages)
        failed.add()
        if drawn > share / 2:
            await send(self, topic, partition, messages)
        await asyncio.sleep(0)
        raise BrokerAwayError(f"cannot append to {topic}/{partition}: made to fail")

    KafkaProducer.send = failing


def counted(home: Path, service: str, name: str) -> int:
    """How often a trick was played, as its process noted."""
    return Deaths(home / "tricks" / service, name).count
