"""The first promoted model, never replaced: what it would have answered to the same events."""

from collections.abc import Mapping, Sequence

import numpy as np

from millrace.demo.figures import Scored, mean_error
from millrace.feed import Happening
from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import Scorer, load_scorer
from millrace_artifacts.seal import Seal, Statement, Vault
from millrace_kernel.pipeline import Pipeline


def first_scorer(promotions: Sequence[Happening], vault: Vault) -> Scorer | None:
    """The model of the first promotion; None when there was none. Raises ArtifactError."""
    first = min(promotions, key=lambda each: int(each.fields["epoch"]), default=None)
    if first is None:
        return None
    told = first.fields
    statement = Statement(
        told["pipeline"], told["pipeline_version"], told["run_id"], told["artifact_sha256"]
    )
    seal = Seal(told["signing_key_id"], told["artifact_signature"])
    return load_scorer(read_artifact(vault.open(told["artifact_uri"], statement, seal)))


def frozen_error(
    scorer: Scorer, pipeline: Pipeline, vectors: Mapping[str, Happening], scored: Sequence[Scored]
) -> float:
    """Its mean absolute error over the events that the champions answered; from the very vectors they saw."""
    signature = scorer.signature
    numbers = [[feature.name for feature in pipeline.numbers].index(n) for n in signature.numbers]
    categories = [
        [feature.name for feature in pipeline.categories].index(n) for n in signature.categories
    ]
    rows = [vectors[each.event_id].fields for each in scored]
    matrix = np.array([[row["numbers"][at] for at in numbers] for row in rows], dtype=np.float64)
    texts = [[row["categories"][at] for at in categories] for row in rows]
    answers = scorer.score(matrix.reshape(len(rows), len(numbers)), texts).values.tolist()
    return mean_error(zip(answers, (each.label for each in scored), strict=True))
