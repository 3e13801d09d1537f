"""Requests to answers, in the Open Inference Protocol's words."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count

from millrace_kernel.ids import EntityId, EventId, PipelineName, derived_id
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Clock, Instant
from millrace_serving.application.completion import NO_ENTITY, Completion
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.errors import NoAnswerError, UnknownModelError
from millrace_serving.application.explanations import (
    Explainer,
    NoExplainer,
    ToExplain,
    explanation_of,
    to_explain_of,
)
from millrace_serving.application.handlers import BEFORE_ANY_EPOCH, BEFORE_ANY_MODEL, answers_of
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.ports import Publisher
from millrace_serving.application.routing import Routing
from millrace_serving.application.statistics import Statistics, Tally
from millrace_serving.domain.answers import Answer, fallback
from millrace_serving.domain.columns import Columns, Rows, Signature
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role
from millrace_serving.domain.outputs import Json, describe_outputs, output_tensors
from millrace_serving.domain.tensors import describe_inputs, read_request

_FALLBACK_PLATFORM = "millrace_fallback"


@dataclass(frozen=True, slots=True)
class Answered:
    """The response to a request, and what is to be written to the stream about it."""

    response: Json
    predictions: tuple[PredictionMade, ...]
    to_explain: ToExplain | None = None  # what `explain` is still to add to the response


@dataclass(frozen=True, slots=True)
class _Answering:
    """What answers one request, taken once: a promotion in the middle of the request changes nothing in it."""

    pipeline: Pipeline
    deployment: Deployment | None  # None: the fallback

    @property
    def version(self) -> str:
        return str(self.deployment.champion.version if self.deployment else BEFORE_ANY_MODEL)

    @property
    def pipeline_version(self) -> int:
        """Of the file that fixes the columns."""
        champion = self.deployment.champion if self.deployment else None
        return champion.pipeline_version if champion else self.pipeline.version

    @property
    def signature(self) -> Signature:
        if self.deployment:
            return self.deployment.model.signature
        return Signature(Columns.of(self.pipeline), self.pipeline.label.kind)

    @property
    def is_able(self) -> bool:
        return self.deployment is not None or self.pipeline.model.fallback is not None

    def answers(self, rows: Rows) -> list[Answer]:
        if self.deployment:
            return answers_of(self.deployment, rows)
        rule, columns, kind = self.pipeline.model.fallback, rows.columns, self.pipeline.label.kind
        vectors = zip(rows.numbers.tolist(), rows.categories, strict=True)
        return [fallback(rule, columns, numbers, texts, kind) for numbers, texts in vectors]


class Inference:
    """Answers requests. `answer` and what only reads may be called from any thread."""

    def __init__(
        self,
        pipelines: Pipelines,
        deployments: Deployments,
        publisher: Publisher,
        clock: Clock,
        instance: str,
        statistics: Statistics,
        completion: Completion | None = None,
        explainer: Explainer | None = None,
        routing: Routing | None = None,
    ) -> None:
        """Without a completion requests bring every feature, without an explainer none is explained."""
        self._routing = routing
        self._pipelines = pipelines
        self._deployments = deployments
        self._publisher = publisher
        self._clock = clock
        self._statistics = statistics
        self._completion = completion or Completion(pipelines, None, clock)
        self._explainer = explainer or NoExplainer()
        # a UUID for each: what it begins with is this start of this instance, what it ends with counts
        self._first_of_ids = derived_id("request", instance, str(clock.now()))[:-12]
        self._numbers = count(1)

    def answer(self, name: str, version: str | None, body: object) -> Answered:
        """Raises RequestRefusedError, UnknownModelError, NoAnswerError, ModelNotLoadedError (see `loaded`)."""
        answering = self._answering(name, version)
        challenger = self._challenger(name, body) if version is None else None
        if challenger is not None:
            try:
                return self._tallied(name, replace(answering, deployment=challenger), body)
            except _ChallengerFailedError as error:  # nobody is routed to it any more
                assert self._routing is not None
                self._routing.fail(challenger.champion.pipeline, str(error))
        return self._tallied(name, answering, body)

    def _challenger(self, name: str, body: object) -> Deployment | None:
        """Of a canary, for the entity that the request names or else its id; one with neither is the champion's."""
        if self._routing is None or not self._routing.has_canary(PipelineName(name)):
            return None
        entity = _routed_by(body)
        return self._routing.choose(PipelineName(name), entity) if entity else None

    def _tallied(self, name: str, answering: _Answering, body: object) -> Answered:
        tally, began = (
            self._statistics.tally(name, answering.version),
            self._statistics.nanoseconds(),
        )
        try:
            return self._answered(name, answering, body, tally)
        except (RequestRefusedError, NoAnswerError):
            tally.refused(self._statistics.nanoseconds() - began)
            raise

    def _answered(self, name: str, answering: _Answering, body: object, tally: Tally) -> Answered:
        if not answering.is_able:
            raise NoAnswerError(
                f"pipeline {name!r} has no champion yet, and no fallback: try again later"
            )
        began = self._statistics.nanoseconds()
        columns, pipeline = answering.signature.columns, answering.pipeline
        completed = self._completion.completed(body, pipeline, answering.pipeline_version, columns)
        request = read_request(completed.body if completed else body, answering.signature)
        to_explain = to_explain_of(request.parameters, answering.deployment, request.rows)
        read = self._statistics.nanoseconds()
        answers = self._scored(answering, request.rows)
        scored = self._statistics.nanoseconds()
        identity = request.id or self.new_id()
        outputs = output_tensors(answering.signature, answers, request.outputs)
        response = response_of(name, answering.version, identity, outputs)
        if completed:
            response["parameters"] = completed.parameters
        entities = completed.entities if completed else (NO_ENTITY,) * len(request.rows)
        now = self._clock.now()
        predictions = _predictions(answering, identity, request.rows, entities, answers, now)
        written = self._statistics.nanoseconds()
        tally.answered(len(request.rows), read - began, scored - read, written - scored)
        return Answered(response, predictions, to_explain)

    def _scored(self, answering: _Answering, rows: Rows) -> list[Answer]:
        try:
            return answering.answers(rows)
        except Exception as error:
            deployment, routing = answering.deployment, self._routing
            running = routing.running(answering.pipeline.name) if routing else None
            if running is None or deployment is None or deployment is not running.deployment:
                raise
            raise _ChallengerFailedError(f"it does not score: {error!r}") from error

    async def explain(self, answered: Answered) -> None:
        """Put the explanation into the response, when one was asked for.

        Raises RequestRefusedError for a model that can't be explained, TransientError when too many wait.
        """
        if answered.to_explain is not None:
            explanation = await explanation_of(self._explainer, answered.to_explain)
            parameters = answered.response.setdefault("parameters", {})
            parameters["explanation"] = explanation

    def new_id(self) -> str:
        """For a request that brings none."""
        return f"{self._first_of_ids}{next(self._numbers):012x}"

    def asked(self) -> AbstractContextManager[None]:
        """Around everything that is done for one request."""
        return self._publisher.expecting()

    async def publish(self, answered: Answered) -> None:
        """Hand the predictions to the stream; waits only when the stream is too slow for the requests."""
        await self._publisher.publish(answered.predictions)

    async def loaded(self, name: str) -> None:
        """Bring a model back that is not in memory, as ModelNotLoadedError said. Raises TransientError."""
        await self._deployments.ready(PipelineName(name))

    def versions(self, name: str) -> list[str]:
        """Those that can be asked for by number, the one that answers first; none before the first champion."""
        champions = self._deployments.champions(PipelineName(name))
        return [str(champion.version) for champion in champions]

    def metadata(self, name: str, version: str | None) -> Json:
        """What a client must know to ask. Raises UnknownModelError, ModelNotLoadedError."""
        answering = self._answering(name, version)
        deployment = answering.deployment
        return {
            "name": name,
            "versions": self.versions(name),
            "platform": deployment.model.platform if deployment else _FALLBACK_PLATFORM,
            "inputs": describe_inputs(answering.signature.columns),
            "outputs": describe_outputs(answering.signature),
        }

    def is_ready(self, name: str, version: str | None) -> bool:
        """Whether a request would get an answer. Raises UnknownModelError."""
        pipeline, versions = self._pipelines.current(name), self.versions(name)
        if version is not None and version not in versions:
            raise _not_loaded(name, version, versions)
        return bool(versions) or pipeline.model.fallback is not None

    def _answering(self, name: str, version: str | None) -> _Answering:
        pipeline = self._pipelines.current(name)
        loaded = self._deployments.loaded(pipeline.name)
        if version is None:
            return _Answering(pipeline, loaded[0] if loaded else None)
        for deployment in loaded:
            if str(deployment.champion.version) == version:
                return _Answering(pipeline, deployment)
        raise _not_loaded(name, version, self.versions(name))


class _ChallengerFailedError(Exception):
    """The champion answers in its place."""


def _routed_by(body: object) -> str:
    """What a canary shares requests out by; empty: nothing that stays the same when it is asked again."""
    if not isinstance(body, dict):
        return ""
    parameters = body.get("parameters")
    entity = parameters.get("entity") if isinstance(parameters, dict) else None
    found = entity or body.get("id")
    return found if isinstance(found, str) else ""


def _not_loaded(name: str, version: str, versions: Sequence[str]) -> UnknownModelError:
    known = ", ".join(versions) or "none"
    return UnknownModelError(f"version {version!r} of {name!r} is not loaded; loaded: {known}")


def response_of(name: str, version: str, identity: str, outputs: Sequence[Json]) -> Json:
    """A response as the protocol has it."""
    return {
        "model_name": name,
        "model_version": version,
        "id": identity,
        "outputs": outputs,
    }


def _predictions(
    answering: _Answering,
    identity: str,
    rows: Rows,
    entities: Sequence[EntityId],
    answers: Sequence[Answer],
    now: Instant,
) -> tuple[PredictionMade, ...]:
    """One per row. A request of one row is known by the request's id, a row of several by id/index."""
    champion = answering.deployment.champion if answering.deployment else None
    ids = [identity] if len(rows) == 1 else [f"{identity}/{index}" for index in range(len(rows))]
    return tuple(
        PredictionMade(
            FeaturesComputed(
                answering.pipeline.name,
                answering.pipeline_version,
                EventId(event_id),
                entity,
                now,
                tuple(numbers),
                categories,
            ),
            champion.version if champion else BEFORE_ANY_MODEL,
            champion.epoch if champion else BEFORE_ANY_EPOCH,
            Role.REQUEST,
            answer,
        )
        for event_id, entity, numbers, categories, answer in zip(
            ids, entities, rows.numbers.tolist(), rows.categories, answers, strict=True
        )
    )
