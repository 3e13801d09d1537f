"""Requests that say less than a vector, or something else: an entity, or an event's own fields."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from millrace_kernel.errors import MillraceError
from millrace_kernel.ids import EntityId, PipelineName
from millrace_kernel.pipeline import Field, FieldKind, Pipeline
from millrace_kernel.time import SECOND, Clock, Instant, parse_rfc3339, rfc3339
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.domain.columns import Columns
from millrace_serving.domain.completion import (
    Completed,
    Completer,
    Freshness,
    Happening,
    Known,
    Value,
    known_of,
)
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.events import FeaturesComputed
from millrace_serving.domain.outputs import Json
from millrace_serving.domain.tensors import ALL_NUMBERS, Given, given_of

COMPLETE = "complete"  # the request parameter, for pipelines without an entity
NO_ENTITY = EntityId("")  # the whole pipeline is the one entity
LONGEST_ENTITY = 255  # characters, as ingestion takes them

_LAST_SECOND = 253_402_300_799  # of the year 9999


class OnlineVectors(Protocol):
    """The newest vector of each entity."""

    @property
    def is_current(self) -> bool:
        """Whether it has caught up with what there was when it started."""

    def newest(self, pipeline: PipelineName, entity: EntityId) -> FeaturesComputed | None: ...


@dataclass(frozen=True, slots=True)
class CompletedRequest:
    """The request as if it had brought every feature; what the response says of it; whom it is about."""

    body: Json
    parameters: Json
    entities: tuple[EntityId, ...]  # one for each row


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the rows are completed for."""

    pipeline: Pipeline  # whose features the columns are
    columns: Columns
    given: Given
    fields: tuple[Field, ...]  # those that were given
    entities: tuple[EntityId, ...] | None


class Completion:
    """Completes requests. May be called from any thread."""

    def __init__(self, pipelines: Pipelines, vectors: OnlineVectors | None, clock: Clock) -> None:
        """`vectors` None: this instance keeps none."""
        self._pipelines = pipelines
        self._vectors = vectors
        self._clock = clock
        self._completers: dict[PipelineName, tuple[Pipeline, Completer]] = {}

    def completed(
        self, body: object, pipeline: Pipeline, version: int, columns: Columns
    ) -> CompletedRequest | None:
        """The request with all columns of a model that was made for this version of the pipeline file.

        None: it brings them itself, or is no request at all. Raises RequestRefusedError.
        """
        names = _names(body)
        wanted = frozenset(columns.numbers + columns.categories)
        if not names or names == wanted or (ALL_NUMBERS in names and ALL_NUMBERS not in wanted):
            return None
        assert isinstance(body, dict)
        trained = self._as_trained(pipeline, version)
        if not (_asks_for_it(body, names, trained) or self._is_enough(names, wanted, trained)):
            return None
        asked = self._asked(given_of(body), trained, columns)
        rows, known = self._rows(asked)
        entities = asked.entities or (NO_ENTITY,) * asked.given.rows
        return CompletedRequest(
            body | {"inputs": _inputs(columns, rows)}, self._told(columns, rows, known), entities
        )

    def _is_enough(self, names: frozenset[str], wanted: frozenset[str], pipeline: Pipeline) -> bool:
        """Whether what is missing can be computed from what is there."""
        return names <= wanted <= names | self._completer(pipeline).computable(names)

    def _as_trained(self, pipeline: Pipeline, version: int) -> Pipeline:
        try:
            return self._pipelines.version(pipeline.name, version)[0]
        except MillraceError:
            return pipeline  # too old to be known any more: by name, then

    def _asked(self, given: Given, pipeline: Pipeline, columns: Columns) -> _Asked:
        fields = tuple(field for field in pipeline.fields if field.name in given.names)
        shape, features = pipeline.event, columns.numbers + columns.categories
        usable = {*features, *(f.name for f in pipeline.fields), shape.id, shape.time, shape.entity}
        unknown = sorted(given.names - usable)
        if unknown:
            raise RequestRefusedError(
                f"unknown inputs: {', '.join(unknown)}; {_what_can_be_sent(pipeline, columns)}"
            )
        return _Asked(pipeline, columns, given, fields, _entities(given, pipeline))

    def _rows(self, asked: _Asked) -> tuple[list[Completed], list[Known | None]]:
        completer = self._completer(asked.pipeline)
        known = self._known(asked, completer)
        now = self._clock.now()
        happenings = _happenings(asked)
        rows = [
            completer.complete(asked.columns, happening, one, now)
            for happening, one in zip(happenings, known, strict=True)
        ]
        return rows, known

    def _known(self, asked: _Asked, completer: Completer) -> list[Known | None]:
        """The entities' newest vectors, where the request needs them."""
        names = asked.columns.numbers + asked.columns.categories
        fields = frozenset(field.name for field in asked.fields)
        own = asked.given.names | completer.computable(fields)
        missing = [name for name in names if name not in own]
        if not missing:
            return [None] * asked.given.rows
        if asked.entities is None:
            raise RequestRefusedError(
                f"missing inputs: {', '.join(missing)}; {_what_can_be_sent(asked.pipeline, asked.columns)}"
            )
        if self._vectors is None:
            raise RequestRefusedError(
                f"this instance keeps no vectors (SERVING_ONLINE_STORE is off), so these inputs are missing: "
                f"{', '.join(missing)}"
            )
        return [self._known_of(entity, asked.pipeline) for entity in asked.entities]

    def _known_of(self, entity: EntityId, wanted: Pipeline) -> Known | None:
        assert self._vectors is not None
        vector = self._vectors.newest(wanted.name, entity)
        if vector is None:
            return None
        try:
            made, _ = self._pipelines.version(vector.pipeline, vector.pipeline_version)
            return known_of(vector.event_time, vector.numbers, vector.categories, made, wanted)
        except (MillraceError, ValueError):
            return None  # of a file that is not known (yet): what its columns mean is not, either

    def _completer(self, pipeline: Pipeline) -> Completer:
        held = self._completers.get(pipeline.name)
        if held is None or held[0] != pipeline:
            held = self._completers[pipeline.name] = (pipeline, Completer(pipeline))
        return held[1]

    def _told(
        self, columns: Columns, rows: Sequence[Completed], known: Sequence[Known | None]
    ) -> Json:
        names = columns.numbers + columns.categories
        told: Json = {
            "freshness": {
                name: [row.freshness[place] for row in rows] for place, name in enumerate(names)
            }
        }
        if self._vectors is not None and any(row.freshness.count(Freshness.GIVEN) < len(names) for row in rows):  # fmt: skip
            told["vector_times"] = [rfc3339(one.at) if one else None for one in known]
            told["online_store"] = "current" if self._vectors.is_current else "catching up"
        return told


def _names(body: object) -> frozenset[str]:
    """Of the inputs; empty for what is no request, which others say better."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list):
        return frozenset()
    names = [one.get("name") if isinstance(one, dict) else None for one in inputs]
    return frozenset(str(name) for name in names) if all(isinstance(n, str) for n in names) else frozenset()  # fmt: skip


def _asks_for_it(body: Mapping[str, Any], names: frozenset[str], pipeline: Pipeline) -> bool:
    """Whether a request means to be completed: it says so, names the entity, or brings what is no feature."""
    parameters = body.get("parameters")
    if isinstance(parameters, dict) and parameters.get(COMPLETE) is True:
        return True
    features = {feature.name for feature in pipeline.features}
    beside = {pipeline.event.id, pipeline.event.time, pipeline.event.entity}
    fields = {field.name for field in pipeline.fields}
    return bool(names & ((fields | beside) - features)) or pipeline.event.entity in names


def _entities(given: Given, pipeline: Pipeline) -> tuple[EntityId, ...] | None:
    name = pipeline.event.entity
    if name is None:
        return (NO_ENTITY,) * given.rows
    if name not in given.names:
        return None
    entities = given.names_in(name)
    if any(len(entity) > LONGEST_ENTITY for entity in entities):
        raise RequestRefusedError(
            f"the input {name!r} holds an entity of more than {LONGEST_ENTITY} characters"
        )
    return tuple(map(EntityId, entities))


def _happenings(asked: _Asked) -> list[Happening]:
    """What the request says, row by row."""
    given, columns, shape = asked.given, asked.columns, asked.pipeline.event
    times = _times(given, shape.time) if shape.time in given.names else None
    fields: dict[str, Sequence[Value]] = {
        field.name: given.texts(field.name, free=field.kind is FieldKind.TEXT)
        if field.is_text
        else given.numbers(field.name)
        for field in asked.fields
    }
    features: dict[str, Sequence[Value]] = {
        name: given.numbers(name) for name in columns.numbers if name in given.names
    }
    features |= {
        name: given.texts(name, free=name in columns.texts)
        for name in columns.categories
        if name in given.names
    }
    return [
        Happening(
            {name: values[row] for name, values in fields.items()},
            {name: values[row] for name, values in features.items()},
            None if times is None else times[row],
        )
        for row in range(given.rows)
    ]


def _times(given: Given, name: str) -> list[Instant]:
    """RFC 3339, or seconds since 1970."""
    if given.datatype(name) == "BYTES":
        try:
            return [parse_rfc3339(text) for text in given.texts(name)]
        except (ValueError, OverflowError) as error:
            raise RequestRefusedError(
                f"the input {name!r} holds what is no RFC 3339 time: {error}"
            ) from error
    seconds = given.numbers(name)
    if not all(math.isfinite(one) and 0 <= one <= _LAST_SECOND for one in seconds):
        raise RequestRefusedError(
            f"the input {name!r} must hold RFC 3339 times as BYTES, or seconds since 1970"
        )
    return [Instant(round(one * SECOND)) for one in seconds]


def _inputs(columns: Columns, rows: Sequence[Completed]) -> list[Json]:
    """The completed rows as the protocol has them."""
    shape = [len(rows)]
    numbers = [
        {"name": name, "datatype": "FP64", "shape": shape, "data": [row.numbers[place] for row in rows]}
        for place, name in enumerate(columns.numbers)
    ]  # fmt: skip
    categories = [
        {"name": name, "datatype": "BYTES", "shape": shape, "data": [row.categories[place] for row in rows]}
        for place, name in enumerate(columns.categories)
    ]  # fmt: skip
    return numbers + categories


def _what_can_be_sent(pipeline: Pipeline, columns: Columns) -> str:
    fields = ", ".join(field.name for field in pipeline.fields)
    entity = pipeline.event.entity
    features = ", ".join(columns.numbers + columns.categories)
    whole = f"or its entity, {entity}, " if entity else f"with the parameter {COMPLETE} "
    return (
        f"send one tensor per feature ({features}), null where a value is missing; or the event's fields ({fields}), "
        f"{whole}for the rest to be completed from its newest vector"
    )
