"""What can fail around processes that live on: what they send, the broker, the disk, the object store."""

import asyncio
from collections.abc import Sequence

from tests.chaos.blueprint import Blueprint, Trick
from tests.chaos.disk import SmallDisk
from tests.chaos.faults import Fault, Struck
from tests.chaos.scene import Scene
from tests.chaos.stages import counted
from typing_extensions import override


class SendsFail(Fault):
    """Sends of stream services fail at random: refused, or appended with the answer lost."""

    def __init__(self, services: Sequence[str], seed: int, share: float = 0.03) -> None:
        self._services = services
        self._options = {"seed": seed, "share": share, "most": 40}

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        for service in self._services:
            blueprint = blueprint.with_trick(service, Trick("sends-fail", self._options))
        return blueprint

    @override
    async def strike(self, scene: Scene) -> Struck:
        return Struck(0)

    @override
    async def finish(self, scene: Scene) -> Struck:
        return Struck(sum(counted(scene.world.home, name, "sends") for name in self._services))


class BrokerUnreachable(Fault):
    """Nothing passes between anybody and the broker for a while: a TCP proxy swallows it all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        return blueprint.through_a_proxy()

    @override
    async def strike(self, scene: Scene) -> Struck:
        assert scene.world.proxy is not None
        await scene.world.proxy.unreachable(self._seconds)
        began = asyncio.get_running_loop().time()
        await scene.goes_on()
        return Struck(1, asyncio.get_running_loop().time() - began)


class DiskFull(Fault):
    """The disk under a stream service's state is full for a while. Recovered when it works after there is room."""

    def __init__(self, service: str = "features") -> None:
        self._instance = f"{service}-0"
        self._service = service

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        return blueprint.on_a_small_disk(self._service)

    @override
    async def strike(self, scene: Scene) -> Struck:
        disk = SmallDisk(scene.world.state_folder(self._instance))
        process = scene.process(self._instance)
        exits = len(process.exits)
        disk.fill()
        try:
            # it stops loudly, and again whenever it is started: it can't even open its stores
            await scene.until(lambda: len(process.exits) > exits, "the full disk is noticed")
            await asyncio.sleep(2)
        finally:
            disk.free()
        took = await scene.until(
            lambda: scene.works_again(self._instance), f"{self._instance} works again"
        )
        return Struck(1, took)


class ObjectStoreFails(Fault):
    """Every tenth write to the object store fails, of objects and of the lake."""

    SERVICES = ("training", "features", "ingestion", "serving")

    @override
    def shaped(self, blueprint: Blueprint) -> Blueprint:
        for service in self.SERVICES:
            options = {"every": 10, "first": 2}
            blueprint = blueprint.with_trick(service, Trick("object-store-fails", options))
        return blueprint

    @override
    async def strike(self, scene: Scene) -> Struck:
        return Struck(0)

    @override
    async def finish(self, scene: Scene) -> Struck:
        failed = (counted(scene.world.home, name, "failed-writes") for name in self.SERVICES)
        return Struck(sum(failed))
