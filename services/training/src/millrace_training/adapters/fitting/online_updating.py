"""An update of an online learner: the champion goes on learning, from the first row that it has not learnt.

Unlike trees, updates stand on each other: that is what an online learner is. What was learnt first fades as the weights move on.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from millrace_artifacts.artifact import Artifact, Model, Native
from millrace_artifacts.signature import Signature
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.online_models import State, read_state, taught
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.reading.encoding import blinded, encoded, targets
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.searching.recipes import also_without, without_of
from millrace_training.adapters.fitting.shipping.export import packed
from millrace_training.adapters.fitting.shipping.finishing import balanced


@dataclass(frozen=True, slots=True, eq=False)
class OnlineBase:
    """A learner as it answers now, and the event time of the newest row that it has learnt."""

    algorithm: str
    state: State
    signature: Signature
    parameters: dict[str, Any]
    until_us: int

    @property
    def note(self) -> str:
        return "an update: the champion went on learning, label by label" + also_without(
            self.parameters
        )

    def model(self, rows: Rows, job: FitJob) -> Model:
        """The learner after these rows, too."""
        seen = blinded(rows, job, without_of(self.parameters))
        task = Task(
            matrix=encoded(self.signature, seen),
            targets=targets(rows.labels, self.signature.classes, job.label_kind),
            kind=job.label_kind,
            classes=len(self.signature.classes),
            seed=job.seed,
            threads=job.threads,
        )
        if job.options.balance and job.label_kind is not LabelKind.REGRESSION:
            task = replace(task, weights=balanced(task))
        fitted = taught(self.state, task, self.parameters)
        return packed(fitted, self.signature, encoded(self.signature, rows))


def online_base(artifact: Artifact, native: Native) -> OnlineBase:
    """Raises UnreadableArtifactError."""
    return OnlineBase(
        artifact.algorithm,
        read_state(native),
        artifact.signature,
        json.loads(artifact.parameters),
        artifact.learnt.until_us,
    )
