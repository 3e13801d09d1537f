"""What is in memory and answers: as many models as there is room for, the longest unasked going first."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from millrace_kernel.ids import PipelineName
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_serving.application.ports import LoadedModel
from millrace_serving.domain.champions import Champion

MOST_BYTES = 1 << 30

Fill = Callable[[PipelineName], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A champion with its model in memory."""

    champion: Champion
    model: LoadedModel


class Deployments:
    """The deployments of this instance: at most two per pipeline, the one that answers and the one before it.

    A reader takes `current` once and keeps it for as long as it works: a swap replaces the tuple and never touches a
    deployment, so what was begun with a version ends with it, even when it has left the memory meanwhile.

    Together the models take at most `most_bytes`, by their own estimates. When there is no room, the versions before
    the champions go first, then the champions that have not been asked for longest. A champion that has gone, or has not
    come yet, is *cold*: `current` raises for it, so that nothing else answers in its place, and `ready` brings it back.
    Challengers are not here, but they take room too: see `set_aside`.

    `current` and `loaded` may be called from any thread; all else belongs to the event loop's.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0  # with what is set aside
        self._aside = 0
        self._hot: OrderedDict[PipelineName, tuple[Deployment, ...]] = OrderedDict()
        self._with_previous: OrderedDict[PipelineName, None] = OrderedDict()  # oldest swap first
        self._cold: dict[PipelineName, Champion] = {}
        self._held: dict[str, Collection[PipelineName]] = {}
        self._fill: Fill | None = None

    def current(self, pipeline: PipelineName) -> Deployment | None:
        """The one that answers; None before the first. Raises ModelNotLoadedError for a cold one."""
        loaded = self.loaded(pipeline)
        return loaded[0] if loaded else None

    def loaded(self, pipeline: PipelineName) -> tuple[Deployment, ...]:
        """The one that answers, then the one before it if there is room: a rollback to it takes no time.

        Raises ModelNotLoadedError for a cold one.
        """
        loaded = self._hot.get(pipeline)
        if loaded is None:
            if pipeline in self._cold:
                raise ModelNotLoadedError((pipeline,))
            return ()
        try:  # noqa: SIM105  suppress() takes several times as long as all the rest
            self._hot.move_to_end(pipeline)
        except KeyError:  # it left the memory since the line above; whoever asked has it still
            pass
        return loaded

    def currents(
        self, pipelines: Iterable[PipelineName]
    ) -> Mapping[PipelineName, Deployment | None]:
        """`current` of each, all at one moment. Raises ModelNotLoadedError with all that are cold."""
        wanted = list(pipelines)
        cold = tuple(pipeline for pipeline in wanted if self.is_cold(pipeline))
        if cold:
            raise ModelNotLoadedError(cold)
        return {pipeline: self.current(pipeline) for pipeline in wanted}

    def is_hot(self, pipeline: PipelineName) -> bool:
        """Whether a champion of it is in memory."""
        return pipeline in self._hot

    def is_cold(self, pipeline: PipelineName) -> bool:
        """Whether there is a champion that is not in memory."""
        return pipeline in self._cold and pipeline not in self._hot

    async def ready(self, pipeline: PipelineName) -> None:
        """Return when its champion answers: at once when it is in memory. However many wait, it is loaded once.

        Raises TransientError when the object store is away. One that can't be loaded is none: the fallback answers.
        """
        if self._fill is not None and self.is_cold(pipeline):
            await self._fill(pipeline)

    def hold(self, holder: str, pipelines: Collection[PipelineName]) -> None:
        """Keep these in memory, whatever room they take, until `holder` holds others or none.

        For a batch that needs many champions at the same moment: else the last one loaded could drive out the first.
        """
        if pipelines:
            self._held[holder] = frozenset(pipelines)
        elif self._held.pop(holder, None):
            self._make_room(None)

    @property
    def most_aside(self) -> int:
        """Bytes that may be set aside: half of all, so that champions never have to make do without room."""
        return self._most_bytes // 2

    def set_aside(self, taken: int) -> None:
        """So many bytes, all in all, are taken by models that are not here, and are left to them."""
        self._bytes += taken - self._aside
        self._aside = taken
        self._make_room(None)

    def filled_by(self, fill: Fill) -> None:
        """What brings a cold champion into memory, by `swap`."""
        self._fill = fill

    def champions(self, pipeline: PipelineName) -> tuple[Champion, ...]:
        """Whom one may ask for by number: the loaded ones, or the cold one. Nothing is loaded for it."""
        if loaded := self._hot.get(pipeline):
            return tuple(deployment.champion for deployment in loaded)
        cold = self._cold.get(pipeline)
        return (cold,) if cold else ()

    def defer(self, champion: Champion) -> None:
        """It is loaded when it is first needed."""
        if champion.pipeline not in self._hot:
            self._cold[champion.pipeline] = champion

    def give_up(self, pipeline: PipelineName) -> None:
        """None of its champions can be loaded: what answers before the first one answers."""
        self._cold.pop(pipeline, None)

    def standby(self, champion: Champion) -> LoadedModel | None:
        """The champion's model, if it is in memory under whatever epoch."""
        for deployment in self._hot.get(champion.pipeline, ()):
            if deployment.champion.is_same_model_as(champion):
                return deployment.model
        return None

    def swap(self, deployment: Deployment, *, is_wanted: bool = True) -> None:
        """Answer with it from now on. One assignment: nobody sees a moment in between.

        One that nobody wanted (a promotion where nothing was in memory) drives out nothing: it is cold where there is
        no room, else the next to go.
        """
        pipeline = deployment.champion.pipeline
        before = self._hot.get(pipeline, ())
        is_wanted = is_wanted or bool(before)
        if not is_wanted and self._bytes + deployment.model.memory > self._most_bytes:
            self._cold[pipeline] = deployment.champion
            return
        others = [
            other for other in before if not other.champion.is_same_model_as(deployment.champion)
        ]
        self._replace(pipeline, (deployment, *others[:1]))
        # after it is hot: a thread that asks in between finds it either hot or cold
        self._cold.pop(pipeline, None)
        if not is_wanted:
            self._hot.move_to_end(pipeline, last=False)
        self._make_room(pipeline)

    @property
    def bytes(self) -> int:
        """What all models in memory take, by their own estimates, challengers among them."""
        return self._bytes

    @property
    def hot(self) -> int:
        """Pipelines whose champion is in memory."""
        return len(self._hot)

    @property
    def cold(self) -> int:
        """Pipelines whose champion is not."""
        return len(self._cold)

    def _replace(self, pipeline: PipelineName, loaded: tuple[Deployment, ...]) -> None:
        self._bytes += _bytes_of(loaded) - _bytes_of(self._hot.get(pipeline, ()))
        self._hot[pipeline] = loaded
        self._with_previous.pop(pipeline, None)
        if len(loaded) > 1:
            self._with_previous[pipeline] = None

    def _make_room(self, newest: PipelineName | None) -> None:
        """Let go until the rest fits. What came just now stays, alone if need be."""
        while self._bytes > self._most_bytes and self._with_previous:
            pipeline = next(iter(self._with_previous))
            self._replace(pipeline, self._hot[pipeline][:1])
        if self._bytes <= self._most_bytes:
            return
        held = {newest}.union(*self._held.values())
        for pipeline in [each for each in self._hot if each not in held]:
            # cold before it leaves: a thread that asks between the two finds one or the other
            self._cold[pipeline] = self._hot[pipeline][0].champion
            self._bytes -= _bytes_of(self._hot.pop(pipeline))
            if self._bytes <= self._most_bytes:
                return


def _bytes_of(loaded: tuple[Deployment, ...]) -> int:
    return sum(deployment.model.memory for deployment in loaded)
