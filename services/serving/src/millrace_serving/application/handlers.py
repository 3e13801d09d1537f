"""The stream: vectors in, predictions out, a batch at a time."""

from collections import defaultdict
from collections.abc import Sequence

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.domain.answers import Answer, answers, fallback
from millrace_serving.domain.columns import Columns, Rows, aligned, rows_of, width_problem
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role

BEFORE_ANY_MODEL = ModelVersionNumber(0)
BEFORE_ANY_EPOCH = 0


def answers_of(deployment: Deployment, rows: Rows) -> list[Answer]:
    """What this model says about the rows, which may stand under other columns than its own."""
    signature = deployment.model.signature
    scores = deployment.model.score(aligned(rows, signature.columns))
    return answers(signature.kind, signature.classes, scores)


def on_vectors(
    vectors: Sequence[FeaturesComputed], pipelines: Pipelines, deployments: Deployments
) -> list[PredictionMade | PermanentError]:
    """Exactly one prediction per vector, or what is wrong with it, in the vectors' order.

    All vectors of one pipeline version are scored in one call, by the champion that answers at its beginning. Raises
    TransientError for a pipeline version that has not been heard of.
    """
    groups: dict[tuple[PipelineName, int], list[int]] = defaultdict(list)
    for index, vector in enumerate(vectors):
        groups[vector.pipeline, vector.pipeline_version].append(index)
    champions = {name: deployments.current(name) for name, _ in groups}
    results: dict[int, PredictionMade | PermanentError] = {}
    for (name, version), indices in groups.items():
        group = [vectors[index] for index in indices]
        try:
            pipeline, columns = pipelines.version(name, version)
        except PermanentError as error:
            results.update(dict.fromkeys(indices, error))
            continue
        results.update(
            zip(indices, _on_group(group, pipeline, columns, champions[name]), strict=True)
        )
    return [results[index] for index in range(len(vectors))]


def _on_group(
    vectors: Sequence[FeaturesComputed],
    pipeline: Pipeline,
    columns: Columns,
    deployment: Deployment | None,
) -> list[PredictionMade | PermanentError]:
    problems = [width_problem(columns, vector.numbers, vector.categories) for vector in vectors]
    sound = [vector for vector, problem in zip(vectors, problems, strict=True) if problem is None]
    predictions = iter(_predictions(sound, pipeline, columns, deployment))
    return [
        next(predictions) if problem is None else PermanentError(problem) for problem in problems
    ]


def _predictions(
    vectors: Sequence[FeaturesComputed],
    pipeline: Pipeline,
    columns: Columns,
    deployment: Deployment | None,
) -> list[PredictionMade]:
    if deployment is None:
        version, epoch, role = BEFORE_ANY_MODEL, BEFORE_ANY_EPOCH, Role.FALLBACK
        rule = pipeline.model.fallback
        found = [fallback(rule, columns, vector.numbers, vector.categories) for vector in vectors]
    else:
        version, epoch, role = deployment.champion.version, deployment.champion.epoch, Role.CHAMPION
        found = answers_of(deployment, rows_of(columns, vectors)) if vectors else []
    return [
        PredictionMade(vector, version, epoch, role, answer)
        for vector, answer in zip(vectors, found, strict=True)
    ]
