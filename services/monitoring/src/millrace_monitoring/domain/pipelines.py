"""What monitoring must know of a pipeline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind, Monitoring, Pipeline, Promotion, Strategy
from millrace_kernel.time import DAY, Duration

_KEPT_ON_TOPICS = Duration(7 * DAY)  # what is later has left the topics that it would come from

_NOT_COMPARING = Promotion(Strategy.DIRECT, 0)  # kept from before there were comparisons


@dataclass(frozen=True, slots=True)
class Shape:
    """The names of a vector's columns, in its order."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WatchedPipeline:
    """The newest file's settings, and the shape of the vectors of every version heard of."""

    name: PipelineName
    version: int
    label_kind: LabelKind
    monitoring: Monitoring
    patience: Duration  # recorded time that one side of an event waits at least for the other
    shapes: Mapping[int, Shape]
    promotion: Promotion = _NOT_COMPARING

    def shape_of(self, version: int) -> Shape:
        """Raises TransientError for a version that is on its way, PermanentError for one that was forgotten."""
        shape = self.shapes.get(version)
        if shape is not None:
            return shape
        if version > self.version:
            raise TransientError(
                f"{self.name}: version {version} of its file has not been heard of; the newest known is {self.version}"
            )
        raise PermanentError(
            f"{self.name}: version {version} of its file is not known any more, so a vector's columns have no names; "
            f"known: {sorted(self.shapes)}"
        )


def watched(
    pipeline: Pipeline, earlier: Iterable[Pipeline], known: WatchedPipeline | None
) -> WatchedPipeline:
    """The pipeline after a newer file was applied."""
    shapes = {version.version: _shape(version) for version in (*earlier, pipeline)}
    if known is not None:
        shapes = {**known.shapes, **shapes}
    return WatchedPipeline(
        name=pipeline.name,
        version=pipeline.version,
        label_kind=pipeline.label.kind,
        monitoring=pipeline.monitoring,
        patience=Duration(pipeline.label.delay + pipeline.label.maturity + _KEPT_ON_TOPICS),
        shapes=shapes,
        promotion=pipeline.promotion,
    )


def _shape(pipeline: Pipeline) -> Shape:
    return Shape(
        numbers=tuple(feature.name for feature in pipeline.numbers),
        categories=tuple(feature.name for feature in pipeline.categories),
    )
