"""What is loaded and answers, and how a promotion is carried out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import PipelineName
from millrace_serving.application.ports import Engine, LoadedModel
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

Outcome = ModelDeployed | DeploymentFailed
Monotonic = Callable[[], float]  # seconds, of a clock that never goes back


@dataclass(frozen=True, slots=True)
class Deployment:
    """A champion with its model in memory."""

    champion: Champion
    model: LoadedModel


class Deployments:
    """The deployments of this instance: at most two per pipeline, the one that answers and the one before it.

    A reader takes `current` once and keeps it for as long as it works: a swap replaces the tuple and never touches a
    deployment, so what was begun with a version ends with it.
    """

    def __init__(self) -> None:
        self._loaded: dict[PipelineName, tuple[Deployment, ...]] = {}

    def current(self, pipeline: PipelineName) -> Deployment | None:
        loaded = self._loaded.get(pipeline)
        return loaded[0] if loaded else None

    def loaded(self, pipeline: PipelineName) -> tuple[Deployment, ...]:
        """The one that answers, then the one before it, which stays for an instant rollback."""
        return self._loaded.get(pipeline, ())

    def swap(self, deployment: Deployment) -> None:
        """Answer with it from now on. One assignment: nobody sees a moment in between."""
        pipeline = deployment.champion.pipeline
        others = [
            other
            for other in self.loaded(pipeline)
            if not other.champion.is_same_model_as(deployment.champion)
        ]
        self._loaded[pipeline] = (deployment, *others[:1])


class Deployer:
    """Hears promotions and carries them out, the newest epoch of each pipeline only.

    What came of each is remembered, so that it can be told again when the telling was lost.
    """

    def __init__(
        self, deployments: Deployments, engine: Engine, instance: str, monotonic: Monotonic
    ) -> None:
        self._deployments = deployments
        self._engine = engine
        self._instance = instance
        self._monotonic = monotonic
        self._successions: dict[PipelineName, Succession] = {}
        # of the promotions that are due
        self._arrivals: dict[PipelineName, float] = {}
        # by epoch
        self._outcomes: dict[PipelineName, dict[int, Outcome]] = {}

    def hear(self, event: ModelPromoted | ModelRolledBack) -> bool:
        """Whether this is news, and not an epoch heard of before."""
        pipeline = event.champion.pipeline
        before = self._successions.get(pipeline, NO_SUCCESSION)
        after = evolve(before, event)
        if after is before:
            return False
        self._successions[pipeline] = after
        self._arrivals[pipeline] = self._monotonic()
        return True

    async def carry_out(self) -> None:
        """Bring every pipeline to its newest champion, all side by side.

        Raises TransientError after all have been tried, when one could not be reached: it stays due.
        """
        due = [
            self._settle(self._successions[pipeline], arrived)
            for pipeline, arrived in self._arrivals.items()
        ]
        for result in await asyncio.gather(*due, return_exceptions=True):
            if result is not None:
                raise result

    def outcome(self, champion: Champion) -> Outcome | None:
        """What came of this promotion; None for one that a newer one overtook."""
        return self._outcomes.get(champion.pipeline, {}).get(champion.epoch)

    async def _settle(self, succession: Succession, arrived: float) -> None:
        """Deploy the newest champion. An instance that has nothing yet goes back until one loads."""
        pipeline = succession.newest.pipeline
        for champion in succession.champions:
            outcome = await self._deploy(champion, arrived)
            outcomes = self._outcomes.get(pipeline, {}) | {champion.epoch: outcome}
            self._outcomes[pipeline] = dict(sorted(outcomes.items())[-REMEMBERED:])
            if self._deployments.current(pipeline):
                break
        if self._successions[pipeline] is succession:
            del self._arrivals[pipeline]

    async def _deploy(self, champion: Champion, arrived: float) -> Outcome:
        try:
            model = self._standby(champion)
            if model is None:
                model = await asyncio.to_thread(self._engine.load, champion)
        except PermanentError as error:
            return DeploymentFailed(champion, self._instance, str(error))
        self._deployments.swap(Deployment(champion, model))
        return ModelDeployed(champion, self._instance, self._monotonic() - arrived)

    def _standby(self, champion: Champion) -> LoadedModel | None:
        for deployment in self._deployments.loaded(champion.pipeline):
            if deployment.champion.is_same_model_as(champion):
                return deployment.model
        return None
