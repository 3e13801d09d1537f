"""What can be done to a stack while a stream runs through it: one small class for each way."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

from tests.chaos.blueprint import Blueprint, Trick
from tests.chaos.scene import ARMED, FOREVER, Scene
from tests.chaos.stages import counted
from tests.chaos.world import KAFKA, POSTGRES
from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Struck:
    """What a fault did: how often something was killed (stopped, cut off, failed), and how long until work went on."""

    kills: int
    recovery: float = 0.0  # seconds
    what: str = ""


class Fault(Protocol):
    """`strike` is called at a seeded moment of the stream; `finish` once, when the stream has come to rest."""

    holds_the_stream: bool = False
    """Whether it lets the stream go on by itself, slice by slice; else the stream flows on while it strikes."""

    def shaped(self, blueprint: Blueprint) -> Blueprint:
        """The stack as this fault needs it."""
        return blueprint

    async def strike(self, scene: Scene) -> Struck: ...

    async def watch(self, scene: Scene) -> None:
        """What it does beside the stream, all the time; cancelled when the stream has come to rest."""

    async def finish(self, scene: Scene) -> Struck:
        """What it did beside its strikes."""
        return Struck(0)


class KillService(Fault):
    """kill -9. Recovered when it is ready and has handled messages that waited for it."""

    def __init__(self, *instances: str) -> None:
        self._instances = cycle(instances)

    @override
    async def strike(self, scene: Scene) -> Struck:
        instance = next(self._instances)
        began = asyncio.get_running_loop().time()
        await scene.process(instance).kill()
        if instance.startswith("registry"):
            await scene.ask_the_registry()
        await scene.until(lambda: scene.works_again(instance), f"{instance} works again")
        return Struck(1, asyncio.get_running_loop().time() - began, instance)


class KillBroker(Fault):
    """kill -9 of Kafka. Recovered when an event is scored that was not before."""

    @override
    async def strike(self, scene: Scene) -> Struck:
        began = asyncio.get_running_loop().time()
        await scene.process(KAFKA).kill()
        await scene.until(lambda: scene.world.is_ready(KAFKA), "kafka answers")
        await scene.goes_on()
        return Struck(1, asyncio.get_running_loop().time() - began)


class KillDatabase(Fault):
    """kill -9 of PostgreSQL, with all its processes. Recovered when monitoring has committed what waited."""

    @override
    async def strike(self, scene: Scene) -> Struck:
        began = asyncio.get_running_loop().time()
        await scene.process(POSTGRES).kill()
        await scene.until(lambda: scene.world.is_ready(POSTGRES), "postgres answers")
        before = await scene.committed("monitoring")

        async def works() -> bool:
            if await scene.committed("monitoring") > before:
                return True
            return await scene.monitoring_has_heard_all()

        await scene.until(works, "monitoring commits what waited")
        return Struck(1, asyncio.get_running_loop().time() - began)


class RelayDies(Fault):
    """The process of a SQL service kills itself around what its relay does: see `stages.relay_dies`.

    Recovered when the process is ready and what was owed has been published.
    """

    def __init__(self, service: str, seed: int, kills: int) -> None:
        self._service = service
        self._options = {"seed": seed, "kills": kills}
        self._longest = 0.0

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        return blueprint.with_trick(self._service, Trick("relay-dies", self._options))

    @override
    async def strike(self, scene: Scene) -> Struck:
        """It dies by itself, whatever the stream does; here it is only given something to do."""
        if self._service == "registry":
            await scene.ask_the_registry()
        return Struck(0)

    @override
    async def watch(self, scene: Scene) -> None:
        instance, home, seen = f"{self._service}-0", scene.world.home, 0
        process = scene.process(instance)
        first = process.starts

        def deaths() -> int:
            return counted(home, self._service, "relay")

        def is_back() -> bool:
            return process.starts >= first + deaths()

        loop = asyncio.get_running_loop()
        while True:
            await scene.until(lambda: deaths() > seen, "a death", FOREVER)  # noqa: B023
            began, seen = loop.time(), deaths()

            async def works_or_died_again() -> bool:
                again = deaths() > seen  # noqa: B023
                return again or (is_back() and await scene.has_published(instance))

            await scene.until(works_or_died_again, f"{instance} publishes")
            if deaths() == seen:
                self._longest = max(self._longest, loop.time() - began)

    @override
    async def finish(self, scene: Scene) -> Struck:
        deaths, wanted = counted(scene.world.home, self._service, "relay"), self._options["kills"]
        if deaths < wanted:
            scene.problems.append(
                f"{self._service}-relay died {deaths} times instead of {wanted}: it had too little to publish"
            )
        return Struck(deaths, self._longest)


class Rebalance(Fault):
    """Two instances of services; one is killed, its partitions move, it comes back, they move again."""

    holds_the_stream = True

    def __init__(self, *services: str) -> None:
        self._services = services
        self._instances = cycle([f"{service}-1" for service in services])

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        return blueprint.with_two_of(*self._services)

    @override
    async def strike(self, scene: Scene) -> Struck:
        began = asyncio.get_running_loop().time()
        instance = next(self._instances)
        process = scene.process(instance)
        await process.kill(hold_down=True)
        await scene.feed_a_slice()
        await scene.until(scene.all_scored, f"everything is scored without {instance}")
        await process.start()
        await scene.world.wait_ready(instance)
        return Struck(1, asyncio.get_running_loop().time() - began, instance)


class Zombie(Fault):
    """Two instances; one is stopped past its session timeout, its partitions move, and it wakes up where it stood."""

    holds_the_stream = True

    def __init__(self, *services: str) -> None:
        self._services = services
        self._instances = cycle([f"{service}-{n}" for n in (0, 1) for service in services])

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        return blueprint.with_two_of(*self._services)

    @override
    async def strike(self, scene: Scene) -> Struck:
        instance = next(self._instances)
        await scene.stand_still(instance)
        began = asyncio.get_running_loop().time()
        try:
            await scene.feed_a_slice()
            # what it held is scored (and joined) now: so its partitions have moved
            await scene.until(scene.all_scored, f"all is scored while {instance} stands still")
            await scene.until(
                scene.monitoring_has_heard_all, f"all is joined while {instance} stands still"
            )
            took = asyncio.get_running_loop().time() - began
        finally:
            scene.process(instance).send(signal.SIGCONT)
        await scene.feed_a_slice()
        return Struck(1, took, instance)


class StaleOwner(Fault):
    """A reader that lost its partitions gets them back when messages are repeated that only the other one has seen.

    A stands still, B reads on; serving publishes a batch and dies before it knows; B reads that, and dies; serving comes
    back and publishes the batch again; A wakes up, gets the partitions back, and finds the repeated batch first.
    """

    holds_the_stream = True

    def __init__(self, service: str = "monitoring", upstream: str = "serving") -> None:
        self._a, self._b = f"{service}-0", f"{service}-1"
        self._service, self._upstream = service, upstream

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        armed = Trick("dies-between", {"armed_by": ARMED.format(self._upstream)})
        return blueprint.with_two_of(self._service).with_trick(self._upstream, armed)

    @override
    async def strike(self, scene: Scene) -> Struck:
        a, b = scene.process(self._a), scene.process(self._b)
        await self._rest(scene, "before")
        await scene.stand_still(self._a)
        try:
            await scene.feed_a_slice()
            await self._rest(scene, f"by {self._b} alone")
            await self._upstream_dies(scene)
            await scene.until(scene.monitoring_has_heard_all, f"{self._b} has heard the batch")
            await b.kill(hold_down=True)
            await scene.process(f"{self._upstream}-0").start()
            await scene.until(scene.all_scored, "the batch is published again")
        finally:
            a.send(signal.SIGCONT)
        took = await scene.until(
            scene.monitoring_has_heard_all, f"{self._a} has its partitions back"
        )
        await b.start()
        await scene.world.wait_ready(self._b)
        return Struck(3, took)

    async def _rest(self, scene: Scene, who: str) -> None:
        await scene.until(scene.all_scored, f"all is scored, {who}")
        await scene.until(scene.monitoring_has_heard_all, f"all is joined, {who}")

    async def _upstream_dies(self, scene: Scene) -> None:
        """After the broker has its batch, and before it has written that down."""
        upstream = scene.process(f"{self._upstream}-0")
        upstream.hold_down()
        upstream.send(signal.SIGSTOP)  # until enough waits for it to make a batch worth repeating
        await scene.feed_a_slice()
        await scene.until(scene.features_has_said_all, "all features are there")
        scene.arm(self._upstream)
        upstream.send(signal.SIGCONT)
        await scene.until(lambda: not upstream.runs, f"{self._upstream} has died")


class DiesBetween(Fault):
    """A stream service dies after its outputs are acknowledged and before its state is written."""

    def __init__(self, *services: str) -> None:
        self._services = services
        self._turns = cycle(services)

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        for service in self._services:
            trick = Trick("dies-between", {"armed_by": ARMED.format(service)})
            blueprint = blueprint.with_trick(service, trick)
        return blueprint

    @override
    async def strike(self, scene: Scene) -> Struck:
        service = next(self._turns)
        starts = scene.process(f"{service}-0").starts
        scene.arm(service)
        began = asyncio.get_running_loop().time()
        await scene.until(
            lambda: scene.process(f"{service}-0").starts > starts, f"{service} has died"
        )
        await scene.until(lambda: scene.works_again(f"{service}-0"), f"{service} works again")
        return Struck(1, asyncio.get_running_loop().time() - began, service)


class Broken(Fault):
    """A variant of the bus that breaks one rule: the run must fail."""

    def __init__(self, variant: str, services: Sequence[str], **options: object) -> None:
        self._variant, self._services, self._options = variant, services, options

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        for service in self._services:
            blueprint = blueprint.with_trick(service, Trick(self._variant, self._options))
        return blueprint

    @override
    async def strike(self, scene: Scene) -> Struck:
        return Struck(0)

    @override
    async def finish(self, scene: Scene) -> Struck:
        return Struck(1)
