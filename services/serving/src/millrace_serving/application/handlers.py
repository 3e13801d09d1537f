"""The stream: vectors in, predictions out, a batch at a time."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.routing import Routing
from millrace_serving.domain.answers import Answer, answers, fallback
from millrace_serving.domain.columns import Columns, Rows, aligned, rows_of, width_problem
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role

BEFORE_ANY_MODEL = ModelVersionNumber(0)
BEFORE_ANY_EPOCH = 0


def answers_of(deployment: Deployment, rows: Rows) -> list[Answer]:
    """What this model says about the rows, which may stand under other columns than its own.

    Raises ValueError for a model that does not say one thing about each, and whatever its library raises.
    """
    signature = deployment.model.signature
    scores = deployment.model.score(aligned(rows, signature.columns))
    found = answers(signature.kind, signature.classes, scores)
    if len(found) != len(rows):
        raise ValueError(f"the model gives {len(found)} answers to {len(rows)} rows")
    return found


def on_vectors(
    vectors: Sequence[FeaturesComputed],
    pipelines: Pipelines,
    deployments: Deployments,
    routing: Routing | None = None,
) -> list[PredictionMade | PermanentError]:
    """Exactly one prediction per vector, or what is wrong with it, in the vectors' order.

    All vectors of one pipeline version are scored in one call, by the champion that answers at its beginning; a canary's
    share of them by its challenger, or where that fails, by the champion. Raises
    TransientError for a pipeline version that has not been heard of, ModelNotLoadedError for champions that have to be
    loaded first.
    """
    groups: dict[tuple[PipelineName, int], list[int]] = defaultdict(list)
    for index, vector in enumerate(vectors):
        groups[vector[:2]].append(index)  # the pipeline and its version
    champions = deployments.currents({name for name, _ in groups})
    results: dict[int, PredictionMade | PermanentError] = {}
    for (name, version), indices in groups.items():
        group = [vectors[index] for index in indices]
        try:
            pipeline, columns = pipelines.version(name, version)
        except PermanentError as error:
            results.update(dict.fromkeys(indices, error))
            continue
        results.update(
            zip(
                indices,
                _on_group(group, pipeline, columns, champions[name], routing),
                strict=True,
            )
        )
    return [results[index] for index in range(len(vectors))]


def _on_group(
    vectors: Sequence[FeaturesComputed],
    pipeline: Pipeline,
    columns: Columns,
    deployment: Deployment | None,
    routing: Routing | None,
) -> list[PredictionMade | PermanentError]:
    problems = [width_problem(columns, vector.numbers, vector.categories) for vector in vectors]
    is_sound = not any(problems)
    sound = vectors if is_sound else [v for v, p in zip(vectors, problems, strict=True) if not p]
    if deployment is None:
        made = _fallbacks(sound, pipeline, columns)
    else:
        made = _predictions(sound, columns, deployment, routing)
    if is_sound:
        return [*made]
    predictions = iter(made)
    return [
        next(predictions) if problem is None else PermanentError(problem) for problem in problems
    ]


def _fallbacks(
    vectors: Sequence[FeaturesComputed], pipeline: Pipeline, columns: Columns
) -> list[PredictionMade]:
    rule, kind = pipeline.model.fallback, pipeline.label.kind
    return [
        PredictionMade(
            vector,
            BEFORE_ANY_MODEL,
            BEFORE_ANY_EPOCH,
            Role.FALLBACK,
            fallback(rule, columns, vector.numbers, vector.categories, kind),
        )
        for vector in vectors
    ]


def _predictions(
    vectors: Sequence[FeaturesComputed],
    columns: Columns,
    deployment: Deployment,
    routing: Routing | None,
) -> list[PredictionMade]:
    if not vectors:
        return []
    running = routing.running(vectors[0].pipeline) if routing else None
    if running is None or routing is None:
        return predictions_of(deployment, columns, vectors, Role.CHAMPION)
    number = running.trial.number
    taken = _by_challenger(vectors, columns, number, routing)
    rest = [vector for index, vector in enumerate(vectors) if index not in taken]
    champions = iter(
        predictions_of(deployment, columns, rest, Role.CHAMPION, number, routing.seconds)
        if rest
        else ()
    )
    return [taken.get(index) or next(champions) for index in range(len(vectors))]


def _by_challenger(
    vectors: Sequence[FeaturesComputed], columns: Columns, number: int, routing: Routing
) -> dict[int, PredictionMade]:
    """The answers of a canary's challenger, by the vectors' places; none when it fails: from then on nobody is its."""
    name = vectors[0].pipeline
    chosen = [routing.choose(name, vector.entity or vector.event_id) for vector in vectors]
    mine = [index for index, deployment in enumerate(chosen) if deployment is not None]
    challenger = next((deployment for deployment in chosen if deployment is not None), None)
    if challenger is None:
        return {}
    try:
        made = predictions_of(
            challenger,
            columns,
            [vectors[index] for index in mine],
            Role.CHAMPION,
            number,
            routing.seconds,
        )
    except Exception as error:  # noqa: BLE001  whatever a model library raises: the champion answers
        routing.fail(name, f"it does not score: {error!r}")
        return {}
    return dict(zip(mine, made, strict=True))


def predictions_of(
    deployment: Deployment,
    columns: Columns,
    vectors: Sequence[FeaturesComputed],
    role: Role,
    trial: int = 0,
    seconds: Callable[[], float] | None = None,
) -> list[PredictionMade]:
    """Score the vectors in one call. With `seconds`, each prediction says how long its part of the call took."""
    began = seconds() if seconds else 0.0
    found = answers_of(deployment, rows_of(columns, vectors))
    each = (seconds() - began) / len(vectors) if seconds else 0.0
    version, epoch = deployment.champion.version, deployment.champion.epoch
    return [
        PredictionMade(vector, version, epoch, role, answer, trial, each)
        for vector, answer in zip(vectors, found, strict=True)
    ]
