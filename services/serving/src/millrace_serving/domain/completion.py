"""Vectors from what a request says of its events, completed with what is known of their entities.

A feature is as it was given; or computed from the fields that were given; or as it stood in the entity's newest vector;
or absent, which a model takes as missing, as it learnt it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from millrace_kernel.expressions import EVENT_TIME, Evaluate, compile_expression, parse
from millrace_kernel.pipeline import Feature, Pipeline, VectorKind
from millrace_kernel.time import SECOND, Duration, Instant
from millrace_serving.domain.columns import MISSING_CATEGORY, MISSING_NUMBER, Columns

Value = float | str  # a number, NaN where missing, or a text, "" where missing


class Freshness(StrEnum):
    """Where a feature's value comes from."""

    GIVEN = "given"  # the request, or computed from it alone
    FRESH = "fresh"  # the entity's newest vector
    STALE = "stale"  # the same, older than the pipeline file's limit
    ABSENT = "absent"  # nowhere: the model takes it as missing


@dataclass(frozen=True, slots=True)
class Known:
    """The newest vector of an entity, by the features' names."""

    at: Instant
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Happening:
    """What a request says of one event: fields and features by name. `at` None: it does not say when, so it is now."""

    fields: Mapping[str, Value]
    features: Mapping[str, Value]
    at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """One row under the wanted columns; and for each column, by name, where it is from."""

    numbers: tuple[float, ...]
    categories: tuple[str, ...]
    freshness: tuple[Freshness, ...]


@dataclass(frozen=True, slots=True)
class _Computed:
    """An expression that is no more than the event itself: it looks at no event before."""

    fields: frozenset[str]
    evaluate: Evaluate


class Completer:
    """Completes rows for the columns of one version of a pipeline file."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._stale_after = pipeline.serving.stale_after
        self._texts = {f.name for f in pipeline.features if f.kind is not VectorKind.NUMBER}
        self._fields = {feature.name for feature in pipeline.features if feature.field}
        self._computed = {
            feature.name: computed
            for feature in pipeline.features
            if (computed := _computed(feature)) is not None
        }

    def complete(
        self, columns: Columns, happening: Happening, known: Known | None, now: Instant
    ) -> Completed:
        """One row. What is older than the limit at the time of the event is stale, not worthless: it is used, and told."""
        at = now if happening.at is None else happening.at
        held = _held(known, at, self._stale_after)
        found = [
            self._value(name, happening, known, at, held)
            for name in columns.numbers + columns.categories
        ]
        width = len(columns.numbers)
        return Completed(
            tuple(float(value) for value, _ in found[:width]),
            tuple(str(value) for value, _ in found[width:]),
            tuple(freshness for _, freshness in found),
        )

    def computable(self, fields: frozenset[str]) -> frozenset[str]:
        """The features that these fields are enough for."""
        return frozenset(
            name for name, computed in self._computed.items() if computed.fields <= fields
        )

    def _value(
        self,
        name: str,
        happening: Happening,
        known: Known | None,
        at: Instant,
        held: Freshness,
    ) -> tuple[Value, Freshness]:
        if name in happening.features:
            return happening.features[name], Freshness.GIVEN
        stored = known.values if known else {}
        computed = self._computed.get(name)
        if computed is not None and _is_new(happening):
            values: dict[str, Value] = {EVENT_TIME: at / SECOND}
            borrowed = False
            for field in computed.fields:
                if field in happening.fields:
                    values[field] = happening.fields[field]
                elif field in stored and field in self._fields:
                    values[field], borrowed = stored[field], True
            is_its_own = not computed.fields or bool(computed.fields & happening.fields.keys())
            if is_its_own and computed.fields < values.keys():
                answer = computed.evaluate(values, _no_event_before)
                return answer, held if borrowed else Freshness.GIVEN
        if name in stored:
            return stored[name], held
        return (MISSING_CATEGORY if name in self._texts else MISSING_NUMBER), Freshness.ABSENT


def _computed(feature: Feature) -> _Computed | None:
    """None for what looks at the entity's events before, or is no expression."""
    if feature.expression is None:
        return None
    expression = parse(feature.expression)
    if expression.lags:
        return None
    return _Computed(expression.fields, compile_expression(expression))


def _is_new(happening: Happening) -> bool:
    """Whether the request tells of an event, not only whom it would happen to."""
    return bool(happening.fields) or happening.at is not None


def _held(known: Known | None, at: Instant, stale_after: Duration) -> Freshness:
    if known is None:
        return Freshness.ABSENT
    return Freshness.STALE if at - known.at > stale_after else Freshness.FRESH


def _no_event_before(name: str, steps: int) -> float:  # noqa: ARG001  the evaluator's signature
    return math.nan


def known_of(
    at: Instant,
    numbers: Sequence[float],
    categories: Sequence[str],
    made: Pipeline,
    wanted: Pipeline,
) -> Known:
    """A vector by its features' names, less those that mean something else in the wanted version of the file."""
    meanings = {feature.name: feature for feature in wanted.features}
    numbers_named = zip(made.numbers, numbers, strict=True)
    texts_named = zip(made.categories, categories, strict=True)
    named: list[tuple[Feature, Value]] = [*numbers_named, *texts_named]
    values = {
        feature.name: value for feature, value in named if meanings.get(feature.name) == feature
    }
    return Known(at, values)
