"""Challengers: heard of, brought into memory, and asked for what nobody gets."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.time import Instant
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.handlers import predictions_of
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.ports import Engine
from millrace_serving.application.routing import Routing, Running
from millrace_serving.domain.canary import (
    ChallengerEnded,
    ChallengerStarted,
    Trial,
    TrialEvent,
    is_over,
)
from millrace_serving.domain.champions import ModelPromoted, ModelRolledBack
from millrace_serving.domain.columns import Columns, width_problem
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role

logger = logging.getLogger(__name__)

_HOLDER = "challengers"


class Challengers:
    """Follows the trials of all pipelines, and loads their challengers. Belongs to the event loop's thread.

    History may be heard again from its beginning: what is over stays over.

    Challengers take room from the champions', and keep it, with the champions that they are compared with, until their
    trials end. One that finds half of all room taken by other challengers waits for one of them to end: nobody misses its
    answers, and it loses no vector, as it scores the stream from its trial's beginning on, whenever it comes.
    """

    def __init__(self, routing: Routing, engine: Engine, deployments: Deployments) -> None:
        self.changed = asyncio.Event()
        self._routing = routing
        self._engine = engine
        self._deployments = deployments
        self._sizes: dict[PipelineName, tuple[int, int]] = {}  # trial, bytes: of those that wait
        self._trials: dict[PipelineName, Trial] = {}  # the newest of each
        self._over: set[tuple[PipelineName, int]] = set()

    def hear(self, event: TrialEvent) -> None:
        """Takes effect at once: the first answer after a rejection is the champion's. When another champion is announced,
        a canary keeps its share until that one is loaded: it may be the very challenger."""
        match event:
            case ChallengerStarted(trial):
                self._begin(trial)
            case ChallengerEnded(pipeline):
                if self._ends(pipeline, event):
                    self._routing.end(pipeline)
            case ModelPromoted(champion) | ModelRolledBack(champion):
                self._ends(champion.pipeline, event)
        self.changed.set()

    def _ends(self, pipeline: PipelineName, event: TrialEvent) -> bool:
        trial = self._trials.get(pipeline)
        if trial is None or not is_over(trial, event):
            return False
        self._over.add((pipeline, trial.number))
        return True

    def running(self) -> list[Running]:
        """The trials that are not over."""
        return [running for running in self._routing.all() if not self._is_over(running.trial)]

    def _is_over(self, trial: Trial) -> bool:
        return (trial.pipeline, trial.number) in self._over

    def _begin(self, trial: Trial) -> None:
        before, key = self._trials.get(trial.pipeline), (trial.pipeline, trial.number)
        if before is not None and (trial.number, trial.step) <= (before.number, before.step):
            return
        self._trials[trial.pipeline] = trial
        if before is not None and trial.number > before.number:
            self._over.discard((trial.pipeline, before.number))
        if key not in self._over:
            self._routing.put(trial)

    async def settle(self) -> bool:
        """Load the challengers that are not in memory, and let go of those that another champion has followed. Whether
        nothing is left to be done: else try again in a while."""
        over = [running.trial for running in self._routing.all() if self._is_over(running.trial)]
        for trial in over:
            if self._routing.running(trial.pipeline) is None:
                self._routing.end(trial.pipeline)
        self._count()
        due = [
            self._load(running.trial)
            for running in self.running()
            if running.deployment is None and not running.has_failed
        ]
        loaded = await asyncio.gather(*due)
        self._count()
        return all(loaded) and len(self.running()) == len(self._routing.all())

    async def _load(self, trial: Trial) -> bool:
        number, size = self._sizes.get(trial.pipeline, (0, 0))
        if number == trial.number and not self._has_room(size):
            return False
        try:
            model = await asyncio.to_thread(self._engine.load, trial.challenger)
        except TransientError:
            return False
        except PermanentError as error:
            self._routing.fail(trial.pipeline, str(error))
            return True
        if not self._has_room(model.memory):
            self._sizes[trial.pipeline] = trial.number, model.memory
            return False
        self._sizes.pop(trial.pipeline, None)
        self._routing.deploy(trial, Deployment(trial.challenger, model))
        self._count()
        return True

    def _has_room(self, size: int) -> bool:
        """The only challenger always has."""
        taken = self._taken()
        return not taken or taken + size <= self._deployments.most_aside

    def _taken(self) -> int:
        deployed = [one.deployment for one in self._routing.all() if one.deployment is not None]
        return sum(deployment.model.memory for deployment in deployed)

    def _count(self) -> None:
        """Tell what challengers take and which champions they need beside them."""
        running = self._routing.all()
        needed = [one.trial.pipeline for one in running if one.deployment is not None]
        self._deployments.hold(_HOLDER, needed)
        self._deployments.set_aside(self._taken())


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A vector, and when it was recorded."""

    vector: FeaturesComputed
    at: Instant


def on_shadowed(
    shadowed: Sequence[Shadowed],
    name: PipelineName,
    pipelines: Pipelines,
    deployments: Deployments,
    routing: Routing,
) -> list[list[PredictionMade]]:
    """What the other version says of each vector of this pipeline, for comparison: the challenger, where the champion
    answers, and the champion, where a canary's challenger does. Of vectors from before the trial began both say it, as
    the champion of then may have been another one.

    Nothing for vectors that cannot be read: who answers them has said so. A challenger that fails is told of, and says
    nothing more. Raises TransientError for a pipeline version that has not been heard of, and while the trial's champion is
    on its way, ModelNotLoadedError when it has to be loaded first.
    """
    running = routing.running(name)
    result: list[list[PredictionMade]] = [[] for _ in shadowed]
    if routing.is_awaited(name):
        raise TransientError(f"{name}: the champion of the running trial does not answer here yet")
    if running is None or running.deployment is None:
        return result
    for columns, indices in _readable(shadowed, name, pipelines):
        for is_champion in (False, True):
            mine = [
                index
                for index in indices
                if shadowed[index].at < running.trial.started
                or _is_taken(running, shadowed[index]) is is_champion
            ]
            if not mine:
                continue
            deployment = deployments.current(name) if is_champion else running.deployment
            if deployment is None:
                continue
            vectors = [shadowed[index].vector for index in mine]
            made = _scored(deployment, columns, vectors, running, routing)
            for index, prediction in zip(mine, made, strict=False):
                result[index].append(prediction)
    return result


def _readable(
    shadowed: Sequence[Shadowed], name: PipelineName, pipelines: Pipelines
) -> Iterator[tuple[Columns, list[int]]]:
    """The places of the vectors that are what their pipeline version says, for each version."""
    for version in {one.vector.pipeline_version: None for one in shadowed}:
        try:
            _, columns = pipelines.version(name, version)
        except PermanentError:
            continue
        yield (
            columns,
            [
                index
                for index, one in enumerate(shadowed)
                if one.vector.pipeline_version == version
                and width_problem(columns, one.vector.numbers, one.vector.categories) is None
            ],
        )


def _scored(
    deployment: Deployment,
    columns: Columns,
    vectors: Sequence[FeaturesComputed],
    running: Running,
    routing: Routing,
) -> list[PredictionMade]:
    """None when the model fails, whichever it is: nobody waits for these answers."""
    number, name = running.trial.number, running.trial.pipeline
    try:
        return predictions_of(
            deployment, columns, vectors, Role.CHALLENGER, number, routing.seconds
        )
    except Exception as error:
        if deployment is running.deployment:
            routing.fail(name, f"it does not score: {error!r}")
        else:
            logger.exception("a champion does not score for comparison", extra={"pipeline": name})
        return []


def _is_taken(running: Running, shadowed: Shadowed) -> bool:
    """Whether its answer is the challenger's. By the share of now: where it has grown since, the event is compared by
    whichever answers there are, at most once."""
    vector = shadowed.vector
    return running.trial.takes(vector.entity or vector.event_id)
