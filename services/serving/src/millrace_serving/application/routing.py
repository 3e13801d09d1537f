"""Which version answers whom: the champion, or a canary's challenger for its share of the entities."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from millrace_kernel.ids import PipelineName
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.domain.canary import Trial
from millrace_serving.domain.events import DeploymentFailed

logger = logging.getLogger(__name__)

Seconds = Callable[[], float]  # of a clock that never goes back


@dataclass(frozen=True, slots=True)
class Running:
    """A trial with its challenger; none in memory: it is on its way, or has failed."""

    trial: Trial
    deployment: Deployment | None = None
    has_failed: bool = False


def _at_once(what: Callable[[DeploymentFailed], None], failure: DeploymentFailed) -> None:
    what(failure)


class Routing:
    """The trials of this instance. `choose`, `has_canary` and `fail` may be called from any thread; all else belongs to the
    event loop's.

    A challenger answers only while the champion that it is compared with is the one that answers here: a promotion, a
    rollback, or a champion that could not be loaded here leaves it without its share at once.
    """

    def __init__(
        self,
        deployments: Deployments,
        instance: str,
        tell: Callable[[DeploymentFailed], None],
        seconds: Seconds,
    ) -> None:
        self.seconds = seconds
        self.soon: Callable[..., object] = (
            _at_once  # how to get from any thread to the event loop's
        )
        self._deployments = deployments
        self._instance = instance
        self._tell = tell
        self._running: dict[PipelineName, Running] = {}
        self._canaries: dict[
            PipelineName, Running
        ] = {}  # those with a share, and a model in memory

    def choose(self, pipeline: PipelineName, entity: str) -> Deployment | None:
        """The challenger, if it answers this entity (a request without one: its id); None: the champion does.

        Pure as long as no event of a trial is heard. Without a canary it is one look into a dictionary.
        """
        running = self._canaries.get(pipeline)
        if running is None or not running.trial.takes(entity):
            return None
        return running.deployment if self._holds(running.trial) else None

    def has_canary(self, pipeline: PipelineName) -> bool:
        """Whether `choose` might choose."""
        return pipeline in self._canaries

    def running(self, pipeline: PipelineName) -> Running | None:
        """Its trial, if there is one, and the champion that it is about answers here."""
        running = self._running.get(pipeline)
        return running if running is not None and self._holds(running.trial) else None

    def is_awaited(self, pipeline: PipelineName) -> bool:
        """Whether there is a trial whose champion does not answer here yet."""
        running = self._running.get(pipeline)
        if running is None or running.has_failed:
            return False
        champions = self._deployments.champions(pipeline)
        return not champions or champions[0].epoch < running.trial.challenger.epoch

    def all(self) -> list[Running]:
        return list(self._running.values())

    def put(self, trial: Trial) -> None:
        """A trial begins, or its share has grown: from now on."""
        before = self._running.get(trial.pipeline)
        if before is not None and before.trial.number == trial.number:
            self._set(replace(before, trial=trial))
        else:
            self._set(Running(trial))

    def deploy(self, trial: Trial, deployment: Deployment) -> None:
        """Its model is in memory; of a trial that is over meanwhile it is let go."""
        running = self._running.get(trial.pipeline)
        if running is not None and running.trial.number == trial.number and not running.has_failed:
            self._set(replace(running, deployment=deployment))

    def end(self, pipeline: PipelineName) -> None:
        """From now on the champion answers everybody."""
        self._canaries.pop(pipeline, None)
        self._running.pop(pipeline, None)

    def fail(self, pipeline: PipelineName, reason: str) -> None:
        """Its challenger has failed: nobody is routed to it any more, and the registry hears of it. Once for a trial."""
        running = self._running.get(pipeline)
        if running is None or running.has_failed:
            return
        self._set(replace(running, deployment=None, has_failed=True))
        trial = running.trial
        logger.error(
            "a challenger has failed",
            extra={"pipeline": pipeline, "version": trial.challenger.version, "reason": reason},
        )
        failure = DeploymentFailed(trial.challenger, self._instance, reason, trial.number)
        self.soon(self._tell, failure)

    def _set(self, running: Running) -> None:
        pipeline = running.trial.pipeline
        self._running[pipeline] = running
        if running.deployment is not None and running.trial.share:
            self._canaries[pipeline] = running
        else:
            self._canaries.pop(pipeline, None)

    def _holds(self, trial: Trial) -> bool:
        champions = self._deployments.champions(trial.pipeline)
        return bool(champions) and champions[0].epoch == trial.challenger.epoch
