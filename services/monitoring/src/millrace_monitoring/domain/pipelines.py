"""What monitoring must know of a pipeline."""

from dataclasses import dataclass

from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind, Monitoring, Pipeline
from millrace_kernel.time import DAY, Duration

_KEPT_ON_TOPICS = Duration(
    7 * DAY
)  # what is later than that has left the topics that it would come from


@dataclass(frozen=True, slots=True)
class WatchedPipeline:
    name: PipelineName
    version: int
    label_kind: LabelKind
    monitoring: Monitoring
    patience: (
        Duration  # recorded time that an answer waits for its truth, or a truth for its answer
    )


def watched(pipeline: Pipeline) -> WatchedPipeline:
    return WatchedPipeline(
        name=pipeline.name,
        version=pipeline.version,
        label_kind=pipeline.label.kind,
        monitoring=pipeline.monitoring,
        patience=Duration(pipeline.label.delay + pipeline.label.maturity + _KEPT_ON_TOPICS),
    )
