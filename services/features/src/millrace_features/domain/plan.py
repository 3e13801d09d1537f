"""A version of a pipeline file, made ready once for the many events that name it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace_features.domain.aggregates import AGGREGATES, Aggregate
from millrace_kernel.expressions import Evaluate, Expression, compile_expression, parse
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LABEL, AggregateFunction, Feature, Pipeline
from millrace_kernel.time import Duration


@dataclass(frozen=True, slots=True)
class Retention:
    """What has to be remembered of an entity: no less than a vector may need, and no more."""

    version: int
    lateness: Duration
    fields: tuple[str, ...]  # whose earlier values are needed, in the order of their names
    window: Duration  # how far back behind the newest event's lateness events are needed
    lags: int  # how many events are needed before that, however old they are
    ever: tuple[str, ...]  # of which the newest value ever is needed; LABEL may be one
    labels: bool

    @property
    def keeps_events(self) -> bool:
        return bool(self.window or self.lags or self.ever)


@dataclass(frozen=True, slots=True)
class Window:
    """Aggregates of the same values: collected once, whatever is made of them."""

    of: str | None  # a field, LABEL, or None to count events
    length: Duration
    columns: tuple[tuple[int, Aggregate], ...]  # where in the vector, and by which function


@dataclass(frozen=True, slots=True)
class Plan:
    """How the vectors of one pipeline version are computed. Places are positions in the vector's or event's tuples."""

    pipeline: PipelineName
    version: int
    retention: Retention
    number_places: Mapping[str, int]  # of each number field in an event
    text_count: int
    width: int  # numbers in a vector
    copies: tuple[tuple[int, int, int], ...]  # (place in the vector, place in the event, how many)
    expressions: tuple[tuple[int, Evaluate], ...]
    read_numbers: tuple[tuple[str, int], ...]  # what the expressions read of an event
    read_texts: tuple[tuple[str, int], ...]
    windows: tuple[Window, ...]
    ever: tuple[tuple[int, str], ...]  # `last` without a window
    categories: tuple[int, ...]  # places in the event


def plan(pipeline: Pipeline) -> Plan:
    numbers = {feature.name: place for place, feature in enumerate(pipeline.numbers)}
    number_places = {field.name: place for place, field in enumerate(pipeline.number_fields)}
    text_places = {field.name: place for place, field in enumerate(pipeline.text_fields)}
    parsed = {f.name: parse(f.expression) for f in pipeline.numbers if f.expression is not None}
    read = {name for expression in parsed.values() for name in expression.fields}
    return Plan(
        pipeline=pipeline.name,
        version=pipeline.version,
        retention=_retention(pipeline, list(parsed.values())),
        number_places=number_places,
        text_count=len(text_places),
        width=len(numbers),
        copies=_runs(
            [(numbers[f.name], number_places[f.field]) for f in pipeline.numbers if f.field]
        ),
        expressions=tuple(
            (numbers[name], compile_expression(expression)) for name, expression in parsed.items()
        ),
        read_numbers=tuple(item for item in number_places.items() if item[0] in read),
        read_texts=tuple(item for item in text_places.items() if item[0] in read),
        windows=_windows(pipeline, numbers),
        ever=tuple((numbers[f.name], f.of) for f in pipeline.numbers if f.of and _is_ever(f)),
        categories=tuple(text_places[f.field] for f in pipeline.categories if f.field),
    )


def _runs(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Places that go on side by side in both, copied at once. Pairs come in the order of the vector."""
    runs: list[tuple[int, int, int]] = []
    for place, source in pairs:
        if runs:
            begin, origin, length = runs[-1]
            if (place, source) == (begin + length, origin + length):
                runs[-1] = (begin, origin, length + 1)
                continue
        runs.append((place, source, 1))
    return tuple(runs)


def _is_ever(feature: Feature) -> bool:
    return feature.function is AggregateFunction.LAST and feature.window is None


def _windows(pipeline: Pipeline, numbers: Mapping[str, int]) -> tuple[Window, ...]:
    grouped: dict[tuple[str | None, Duration], list[tuple[int, Aggregate]]] = defaultdict(list)
    for feature in pipeline.numbers:
        if feature.function is not None and feature.window is not None:
            column = (numbers[feature.name], AGGREGATES[feature.function])
            grouped[feature.of, feature.window].append(column)
    return tuple(Window(of, length, tuple(columns)) for (of, length), columns in grouped.items())


def _retention(pipeline: Pipeline, expressions: list[Expression]) -> Retention:
    lags: dict[str, int] = {}
    for expression in expressions:
        for name, steps in expression.lags.items():
            lags[name] = max(steps, lags.get(name, 0))
    ever = {feature.of for feature in pipeline.features if feature.of and _is_ever(feature)}
    aggregated = {feature.of for feature in pipeline.features if feature.of}
    own = {field.name for field in pipeline.number_fields}
    windows = [feature.window for feature in pipeline.features if feature.window is not None]
    if LABEL in ever:  # until then it may change; after that what it was counts for ever
        windows.append(pipeline.label.maturity)
    return Retention(
        version=pipeline.version,
        lateness=pipeline.event.lateness,
        fields=tuple(sorted((aggregated | lags.keys()) & own)),
        window=max(windows, default=Duration(0)),
        lags=max(lags.values(), default=0),
        ever=tuple(sorted(ever)),
        labels=pipeline.aggregates_labels,
    )
