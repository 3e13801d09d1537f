"""Requests to answers, in the Open Inference Protocol's words."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count

from millrace_kernel.ids import DerivedIds, EntityId, EventId, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Clock, Instant
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.errors import NoAnswerError, UnknownModelError
from millrace_serving.application.handlers import BEFORE_ANY_EPOCH, BEFORE_ANY_MODEL, answers_of
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.ports import Publisher
from millrace_serving.domain.answers import Answer, fallback
from millrace_serving.domain.columns import Columns, Rows, Signature
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role
from millrace_serving.domain.tensors import (
    Json,
    describe_inputs,
    describe_outputs,
    output_tensors,
    read_request,
)

_FALLBACK_PLATFORM = "millrace_fallback"


@dataclass(frozen=True, slots=True)
class Answered:
    """The response to a request, and what is to be written to the stream about it."""

    response: Json
    predictions: tuple[PredictionMade, ...]


@dataclass(frozen=True, slots=True)
class _Answering:
    """What answers one request, taken once: a promotion in the middle of the request changes nothing in it."""

    pipeline: Pipeline
    deployment: Deployment | None  # None: the fallback

    @property
    def version(self) -> str:
        return str(self.deployment.champion.version if self.deployment else BEFORE_ANY_MODEL)

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
        rule, columns = self.pipeline.model.fallback, rows.columns
        vectors = zip(rows.numbers.tolist(), rows.categories, strict=True)
        return [fallback(rule, columns, numbers, categories) for numbers, categories in vectors]


class Inference:
    """Answers requests. `answer` and what only reads may be called from any thread."""

    def __init__(
        self,
        pipelines: Pipelines,
        deployments: Deployments,
        publisher: Publisher,
        clock: Clock,
        instance: str,
    ) -> None:
        self._pipelines = pipelines
        self._deployments = deployments
        self._publisher = publisher
        self._clock = clock
        self._ids = DerivedIds("request", instance, str(clock.now()))
        self._numbers = count(1)

    def answer(self, name: str, version: str | None, body: object) -> Answered:
        """Raises RequestRefusedError, UnknownModelError, NoAnswerError."""
        answering = self._answering(name, version)
        if not answering.is_able:
            raise NoAnswerError(
                f"pipeline {name!r} has no champion yet, and no fallback: try again later"
            )
        request = read_request(body, answering.signature)
        answers = answering.answers(request.rows)
        identity = request.id or self._ids.of(b"%d" % next(self._numbers))
        response = {
            "model_name": name,
            "model_version": answering.version,
            "id": identity,
            "outputs": output_tensors(answering.signature.kind, answers, request.outputs),
        }
        return Answered(
            response, _predictions(answering, identity, request.rows, answers, self._clock.now())
        )

    def asked(self) -> AbstractContextManager[None]:
        """Around everything that is done for one request."""
        return self._publisher.expecting()

    async def publish(self, answered: Answered) -> None:
        """Hand the predictions to the stream; waits only when the stream is too slow for the requests."""
        await self._publisher.publish(answered.predictions)

    def metadata(self, name: str, version: str | None) -> Json:
        """What a client must know to ask. Raises UnknownModelError."""
        answering = self._answering(name, version)
        deployment = answering.deployment
        return {
            "name": name,
            "versions": [
                str(loaded.champion.version)
                for loaded in self._deployments.loaded(PipelineName(name))
            ],
            "platform": deployment.model.platform if deployment else _FALLBACK_PLATFORM,
            "inputs": describe_inputs(answering.signature.columns),
            "outputs": describe_outputs(answering.signature),
        }

    def is_ready(self, name: str, version: str | None) -> bool:
        """Whether a request would get an answer. Raises UnknownModelError."""
        return self._answering(name, version).is_able

    def _answering(self, name: str, version: str | None) -> _Answering:
        pipeline = self._pipelines.current(name)
        loaded = self._deployments.loaded(pipeline.name)
        if version is None:
            return _Answering(pipeline, loaded[0] if loaded else None)
        for deployment in loaded:
            if str(deployment.champion.version) == version:
                return _Answering(pipeline, deployment)
        known = ", ".join(str(deployment.champion.version) for deployment in loaded) or "none"
        raise UnknownModelError(f"version {version!r} of {name!r} is not loaded; loaded: {known}")


def _predictions(
    answering: _Answering, identity: str, rows: Rows, answers: Sequence[Answer], now: Instant
) -> tuple[PredictionMade, ...]:
    """One per row. A request of one row is known by the request's id, a row of several by id/index."""
    champion = answering.deployment.champion if answering.deployment else None
    pipeline_version = champion.pipeline_version if champion else answering.pipeline.version
    ids = [identity] if len(rows) == 1 else [f"{identity}/{index}" for index in range(len(rows))]
    return tuple(
        PredictionMade(
            FeaturesComputed(
                answering.pipeline.name,
                pipeline_version,
                EventId(event_id),
                EntityId(""),
                now,
                tuple(numbers),
                categories,
            ),
            champion.version if champion else BEFORE_ANY_MODEL,
            champion.epoch if champion else BEFORE_ANY_EPOCH,
            Role.REQUEST,
            answer,
        )
        for event_id, numbers, categories, answer in zip(
            ids, rows.numbers.tolist(), rows.categories, answers, strict=True
        )
    )
