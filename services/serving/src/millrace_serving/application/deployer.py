"""How a promotion is carried out, and how a champion that is not in memory comes into it."""

import asyncio
from collections.abc import Callable, Collection

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import PipelineName
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.ports import Engine
from millrace_serving.domain.champions import (
    NO_SUCCESSION,
    REMEMBERED,
    Champion,
    ModelPromoted,
    ModelRolledBack,
    Succession,
    evolve,
)
from millrace_serving.domain.events import DeploymentFailed, ModelDeployed

LOADED_AT_START = 100
LOADS_AT_ONCE = 2

Outcome = ModelDeployed | DeploymentFailed
Monotonic = Callable[[], float]  # seconds, of a clock that never goes back


class Deployer:
    """Hears promotions and carries them out, the newest epoch of each pipeline only.

    What came of each is remembered, so that it can be told again when the telling was lost.

    Of the promotions that history holds, the newest `at_start` pipelines' are carried out at once; the other champions
    are cold, and are loaded when they are first needed. So are those that had to leave the memory. What comes of that
    is no answer to a message that is being read: `tell` gets it.

    At most `at_once` models are loaded at the same time, each in a thread; where that is more than one, promotions leave
    one for those that somebody waits for. Belongs to the event loop's thread.
    """

    def __init__(
        self,
        deployments: Deployments,
        engine: Engine,
        instance: str,
        monotonic: Monotonic,
        *,
        tell: Callable[[Outcome], None] = lambda _: None,
        at_start: int = LOADED_AT_START,
        at_once: int = LOADS_AT_ONCE,
    ) -> None:
        self._deployments = deployments
        self._engine = engine
        self._instance = instance
        self._monotonic = monotonic
        self._tell = tell
        self._at_start = at_start
        self._has_started = False
        self._loads = asyncio.Semaphore(at_once)
        self._promotions = asyncio.Semaphore(max(1, at_once - 1))
        self._successions: dict[PipelineName, Succession] = {}
        # of the promotions that are due, the newest last
        self._arrivals: dict[PipelineName, float] = {}
        # by epoch
        self._outcomes: dict[PipelineName, dict[int, Outcome]] = {}
        self._settling: dict[PipelineName, asyncio.Task[None]] = {}
        deployments.filled_by(self.fill)

    def hear(self, event: ModelPromoted | ModelRolledBack) -> bool:
        """Whether this is news, and not an epoch heard of before."""
        pipeline = event.champion.pipeline
        before = self._successions.get(pipeline, NO_SUCCESSION)
        after = evolve(before, event)
        if after is before:
            return False
        self._successions[pipeline] = after
        self._arrivals.pop(pipeline, None)
        self._arrivals[pipeline] = self._monotonic()
        return True

    async def carry_out(self) -> None:
        """Bring every pipeline to its newest champion; after history, those that are not left for later.

        Raises TransientError after all have been tried, when one could not be reached: it stays due.
        """
        if not self._has_started:
            self._has_started = True
            self._defer()
        due = [self._carried_out(pipeline) for pipeline in self._arrivals]
        for result in await asyncio.gather(*due, return_exceptions=True):
            if result is not None:
                raise result

    async def fill(self, pipeline: PipelineName) -> None:
        """Bring a champion into memory that somebody waits for. However many wait, it is loaded once.

        Raises TransientError when it can't be reached. When nobody waits any more, it is loaded all the same.
        """
        await asyncio.shield(self._begin(pipeline))

    def want(self, holder: str, pipelines: Collection[PipelineName]) -> None:
        """Begin to bring these into memory, and keep them there until `holder` is done: see `Deployments.hold`."""
        self._deployments.hold(holder, pipelines)
        for pipeline in pipelines:
            _ = self._begin(pipeline)  # nobody waits here; who asks again finds it done

    def outcome(self, champion: Champion) -> Outcome | None:
        """What came of this promotion; None for one that a newer one overtook, or that waits until it is needed."""
        return self._outcomes.get(champion.pipeline, {}).get(champion.epoch)

    def _defer(self) -> None:
        """Leave all but the newest for later."""
        due = list(self._arrivals)
        for pipeline in due[: max(0, len(due) - self._at_start)]:
            del self._arrivals[pipeline]
            self._deployments.defer(self._successions[pipeline].newest)

    async def _carried_out(self, pipeline: PipelineName) -> None:
        async with self._promotions:
            if running := self._settling.get(pipeline):  # begun before the promotion was heard
                await asyncio.wait([running])
            if pipeline in self._arrivals:
                await self.fill(pipeline)

    def _begin(self, pipeline: PipelineName) -> asyncio.Task[None]:
        task = self._settling.get(pipeline)
        if task is None:
            task = asyncio.create_task(self._settle(pipeline))
            self._settling[pipeline] = task
            task.add_done_callback(lambda done: self._settled(pipeline, done))
        return task

    def _settled(self, pipeline: PipelineName, done: asyncio.Task[None]) -> None:
        del self._settling[pipeline]
        if not done.cancelled():
            done.exception()  # taken note of, should nobody wait for it any more

    async def _settle(self, pipeline: PipelineName) -> None:
        """Deploy the newest champion. Where nothing is in memory, go back until one loads."""
        succession = self._successions[pipeline]
        arrived = self._arrivals.get(pipeline)
        for champion in succession.champions:
            before = self.outcome(champion)
            if isinstance(before, DeploymentFailed):
                continue
            outcome = await self._deploy(champion, arrived)
            self._remember(outcome)
            if arrived is None and type(before) is not type(outcome):
                self._tell(outcome)
            if isinstance(outcome, ModelDeployed) or self._deployments.is_hot(pipeline):
                break
        else:
            self._deployments.give_up(pipeline)
        if self._successions[pipeline] is succession:
            self._arrivals.pop(pipeline, None)

    def _remember(self, outcome: Outcome) -> None:
        pipeline, epoch = outcome.champion.pipeline, outcome.champion.epoch
        outcomes = self._outcomes.get(pipeline, {}) | {epoch: outcome}
        self._outcomes[pipeline] = dict(sorted(outcomes.items())[-REMEMBERED:])

    async def _deploy(self, champion: Champion, arrived: float | None) -> Outcome:
        began = self._monotonic() if arrived is None else arrived
        is_wanted = arrived is None
        try:
            model = self._deployments.standby(champion)
            if model is None:
                async with self._loads:
                    model = await asyncio.to_thread(self._engine.load, champion)
        except PermanentError as error:
            return DeploymentFailed(champion, self._instance, str(error))
        self._deployments.swap(Deployment(champion, model), is_wanted=is_wanted)
        return ModelDeployed(champion, self._instance, self._monotonic() - began)
