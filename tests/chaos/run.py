"""One run: a fresh stack, the whole stream through it, faults at their moments, and the verdict."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from tests.chaos.blueprint import Blueprint, Store
from tests.chaos.evidence import QUIET_TOPICS, ends_of, gather, loop_is_over
from tests.chaos.faults import Fault, Struck
from tests.chaos.feed import Feed
from tests.chaos.history import History
from tests.chaos.judge import Verdict, judge
from tests.chaos.progress import Progress
from tests.chaos.scene import NotSeenError, Scene
from tests.chaos.world import NotReadyError, World

from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)

_FIRST, _LAST = 0.08, 0.85  # faults strike in this part of the stream
_QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to which stack: by target, each fault and how often it strikes."""

    name: str
    store: Store
    targets: Mapping[str, Sequence[tuple[Fault, int]]]
    patience: float = 90.0  # seconds without any progress after which what is missing is missing

    @property
    def faults(self) -> Sequence[Fault]:
        return [fault for pairs in self.targets.values() for fault, _ in pairs]

    @property
    def strikes(self) -> Sequence[Fault]:
        """Each fault as often as it is to strike."""
        pairs = [pair for pairs in self.targets.values() for pair in pairs]
        return [fault for fault, times in pairs for _ in range(times)]

    @property
    def blueprint(self) -> Blueprint:
        blueprint = Blueprint(self.store)
        for fault in self.faults:
            blueprint = fault.shaped(blueprint)
        return blueprint


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    struck: Mapping[str, Struck]  # by target: all its kills, and the longest recovery
    seconds: float  # from the first event to the last one scored and joined
    deaths: Mapping[str, int]  # how often each process was started again
    exits: Mapping[str, Sequence[int]]  # exit codes of those that ended by themselves
    processor: Mapping[str, float]  # seconds of processor time of each process's last life
    vectors: Mapping[int, bytes]
    home: Path


class Run:
    def __init__(self, plan: Plan, history: History, home: Path) -> None:
        self._plan = plan
        self._history = history
        self._home = home
        self._problems: list[str] = []
        self._struck: dict[Fault, list[Struck]] = {fault: [] for fault in plan.faults}
        self._seconds = 0.0
        self._processor: Mapping[str, float] = {}

    async def __call__(self, undisturbed: Mapping[int, bytes] | None) -> Outcome:
        async with World(self._home, self._plan.blueprint) as world:
            progress = Progress(world, self._history.events)
            feed = Feed(world, self._history, lambda: progress.scored)
            scene = Scene(world, feed, progress, max(40, self._history.events // 50), 0)
            watching = asyncio.ensure_future(progress.run())
            feeding = asyncio.ensure_future(feed.run())
            story = asyncio.ensure_future(self._story(scene))
            beside = [asyncio.ensure_future(fault.watch(scene)) for fault in self._plan.faults]
            try:
                done, _ = await asyncio.wait(
                    [story, feeding, watching], return_when=asyncio.FIRST_COMPLETED
                )
                if story not in done and not watching.done():
                    await feeding  # raises what stopped it; else it is just done
                    done, _ = await asyncio.wait(
                        [story, watching], return_when=asyncio.FIRST_COMPLETED
                    )
                if watching.done():
                    watching.result()
                await story
                self._problems += [
                    f"beside the stream: {task.exception()}"
                    for task in beside
                    if task.done() and task.exception() is not None
                ]
                return await self._outcome(scene, undisturbed)
            finally:
                for task in (story, feeding, watching, *beside):
                    task.cancel()
                await asyncio.gather(story, feeding, watching, *beside, return_exceptions=True)

    async def _story(self, scene: Scene) -> None:
        """Feed up to each moment, strike, go on; then wait until all has come to rest."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        events = self._history.events
        moments = [*self._moments(), events]
        for number, fault in enumerate(self._order()):
            await scene.feed.until(moments[number])
            scene.end = moments[number + 1]
            if not fault.holds_the_stream:
                scene.feed.gate = scene.end
            await self._strike(scene, fault)
        await scene.feed.until(events)
        self._seconds = await self._rest(scene) - began
        self._processor = scene.world.processor_seconds()
        for fault in self._plan.faults:
            self._struck[fault].append(await fault.finish(scene))

    async def _strike(self, scene: Scene, fault: Fault) -> None:
        name, at = type(fault).__name__, scene.feed.fed
        try:
            struck = await fault.strike(scene)
        except (NotSeenError, NotReadyError, TimeoutError) as error:
            self._problems.append(f"{name}: {error}")
            logger.warning("  %s at %d: %s", name, at, error)
            return
        self._struck[fault].append(struck)
        if struck.kills:
            said = (name, struck.what, at, self._history.events, struck.recovery)
            logger.info("  %s %s at %d of %d events, recovered after %.1f s", *said)

    def _of(self, target: str) -> Struck:
        """What was done to a target in all."""
        done = [struck for fault, _ in self._plan.targets[target] for struck in self._struck[fault]]
        longest = max((struck.recovery for struck in done), default=0.0)
        return Struck(sum(struck.kills for struck in done), longest)

    def _order(self) -> Sequence[Fault]:
        strikes = list(self._plan.strikes)
        self._chance(5).shuffle(strikes)  # type: ignore[arg-type]
        return strikes

    def _moments(self) -> Sequence[int]:
        """Events after which to strike, one in each equal part of the stream, so that no two meet."""
        count, events = len(self._plan.strikes), self._history.events
        part = (_LAST - _FIRST) / max(1, count)
        drawn = self._chance(6).random(count)
        return [int(events * (_FIRST + part * (n + 0.6 * x))) for n, x in enumerate(drawn)]

    def _chance(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._history.seed, purpose, crc32(self._plan.name.encode())])

    async def _rest(self, scene: Scene) -> float:
        """Wait until nothing moves any more: when the last thing moved that counts. What is missing then is missing."""
        loop = asyncio.get_running_loop()
        last: object = None
        moved = loop.time()
        while True:
            try:
                state = await self._state(scene)
            except TransientError:
                state = ("away", loop.time())
            if state != last:
                last, moved = state, loop.time()
            still = loop.time() - moved
            if still > _QUIET_SECONDS and await self._all_done(scene):
                return moved
            if still > self._plan.patience:
                logger.warning("  nothing has moved for %.0f s: judging what is there", still)
                return moved
            await asyncio.sleep(0.3)

    async def _state(self, scene: Scene) -> object:
        ends = await ends_of(scene.world.broker, QUIET_TOPICS)
        return scene.progress.scored, tuple(sorted(ends.items())), await scene.world.joined()

    async def _all_done(self, scene: Scene) -> bool:
        return (
            scene.progress.scored >= self._history.events
            and await scene.sql_services_have_read_all()
            and await loop_is_over(scene.world.broker)
        )

    async def _outcome(self, scene: Scene, undisturbed: Mapping[int, bytes] | None) -> Outcome:
        evidence = await gather(scene.world, self._history.events, scene.feed.accepted_by_http)
        struck = {name: self._of(name) for name in self._plan.targets}
        idle = [f"{name}: nothing was struck" for name, done in struck.items() if not done.kills]
        verdict = judge(evidence, undisturbed)
        verdict = Verdict(
            verdict.lost,
            verdict.doubled,
            verdict.order_violations,
            verdict.differing_sums,
            verdict.promotions,
            [*self._problems, *scene.problems, *idle, *verdict.problems],
        )
        processes = scene.world.processes
        return Outcome(
            verdict=verdict,
            struck=struck,
            seconds=self._seconds,
            deaths=scene.world.deaths(),
            exits={name: p.exits for name, p in processes.items() if p.exits},
            processor=self._processor,
            vectors=evidence.vectors,
            home=self._home,
        )
