"""Vectors from what a request says and what is known of its entity."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import EntityId, EventId
from millrace_kernel.time import HOUR, SECOND, Instant, rfc3339
from millrace_serving.application.completion import COMPLETE, Completion
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.domain.columns import Columns
from millrace_serving.domain.completion import Completer, Freshness, Happening, Known, known_of
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.events import FeaturesComputed, PipelineApplied

NOON = Instant(1_764_000_000_000_000)
GIVEN, FRESH, STALE, ABSENT = Freshness

FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at, entity: station}
  fields: {temp: float, hum: float, weather: category, code: string, day: {type: int, feature: false}}
  features:
    - {name: warm, expr: temp * (1 - hum)}
    - {name: hour, expr: hour(event_time)}
    - {name: late_rain, expr: 'if(code == "R", day, 0)'}
    - {name: change, expr: "temp - lag(temp, 1)"}
    - {name: temp_mean, agg: mean, of: temp, window: 24h}
    - {name: hired_mean, agg: mean, of: label, window: 7d}
  label:  {field: cnt, kind: regression}
  serving: {stale_after: 2h}
"""
ALONE = FILE.replace(", entity: station", "")
PIPELINE = read_pipeline(FILE, version=1)
COLUMNS = Columns.of(PIPELINE)
STORED = Known(
    Instant(NOON - HOUR),
    {
        "temp": 20.0, "hum": 0.5, "weather": "rain", "warm": 10.0, "hour": 3.0,
        "late_rain": 0.0, "change": 1.5, "temp_mean": 18.0, "hired_mean": math.nan,
    },
)  # fmt: skip


def complete(happening: Happening, known: Known | None = STORED):
    row = Completer(PIPELINE).complete(COLUMNS, happening, known, NOON)
    names = COLUMNS.numbers + COLUMNS.categories
    values = dict(zip(names, row.numbers + row.categories, strict=True))
    return values, dict(zip(names, row.freshness, strict=True))


def test_an_entity_alone_gets_its_newest_vector_as_it_stands():
    values, freshness = complete(Happening({}, {}))

    assert {n: v for n, v in values.items() if v == v} == {
        n: v for n, v in STORED.values.items() if v == v
    }
    assert math.isnan(values["hired_mean"])
    assert set(freshness.values()) == {FRESH}


def test_what_is_not_known_at_all_is_missing_as_a_model_learnt_it():
    values, freshness = complete(Happening({}, {}), None)

    assert values["weather"] == ""
    assert all(math.isnan(values[name]) for name in COLUMNS.numbers)
    assert set(freshness.values()) == {ABSENT}


@pytest.mark.parametrize(("age", "held"), [(2 * HOUR, FRESH), (2 * HOUR + 1, STALE)])
def test_a_vector_older_than_the_files_limit_is_used_and_told_to_be_stale(age, held):
    old = Known(Instant(NOON - age), STORED.values)

    values, freshness = complete(Happening({}, {}), old)
    as_of, told = complete(Happening({}, {}, Instant(NOON - HOUR)), old)

    assert (values["temp_mean"], freshness["temp_mean"]) == (18.0, held)
    assert (as_of["temp_mean"], told["temp_mean"]) == (18.0, FRESH)


def test_expressions_over_given_fields_are_computed_and_the_rest_comes_from_the_store():
    values, freshness = complete(
        Happening({"temp": 30.0, "hum": 0.1, "code": "R", "day": 4.0}, {"temp": 30.0, "hum": 0.1})
    )

    assert (values["warm"], freshness["warm"]) == (27.0, GIVEN)
    assert (values["late_rain"], freshness["late_rain"]) == (4.0, GIVEN)
    assert (values["hour"], freshness["hour"]) == (NOON // HOUR % 24, GIVEN)
    assert (values["change"], freshness["change"]) == (1.5, FRESH)
    assert (values["temp_mean"], freshness["temp_mean"]) == (18.0, FRESH)
    assert (values["weather"], freshness["weather"]) == ("rain", FRESH)


def test_an_expression_over_a_given_and_a_stored_field_is_as_fresh_as_the_store():
    values, freshness = complete(Happening({"temp": 30.0}, {"temp": 30.0}))
    alone, absent = complete(Happening({"temp": 30.0}, {"temp": 30.0}), None)

    assert (values["warm"], freshness["warm"]) == (15.0, FRESH)
    assert math.isnan(alone["warm"])
    assert absent["warm"] is ABSENT
    # of these nothing was given: as they stood, not computed anew from what happens to be stored
    assert (values["late_rain"], freshness["late_rain"]) == (0.0, FRESH)


def test_the_time_of_the_event_counts_where_it_is_given():
    at = Instant(NOON + 5 * HOUR)

    values, freshness = complete(Happening({}, {}, at))

    assert (values["hour"], freshness["hour"]) == (at // HOUR % 24, GIVEN)
    assert freshness["temp_mean"] is STALE


def test_a_given_feature_counts_whatever_is_stored_or_could_be_computed():
    values, freshness = complete(Happening({"temp": 1.0, "hum": 0.0}, {"warm": 99.0}))

    assert (values["warm"], freshness["warm"]) == (99.0, GIVEN)


@given(
    st.dictionaries(st.sampled_from(["temp", "hum", "day"]), st.floats(allow_nan=False)),
    st.sets(st.sampled_from(COLUMNS.numbers)),
    st.one_of(st.none(), st.integers(0, 4 * HOUR)),
)
def test_each_value_is_one_of_the_request_the_computation_or_the_store(fields, features, age):
    known = None if age is None else Known(Instant(NOON - age), STORED.values)
    given_features = dict.fromkeys(features, 7.0)

    values, freshness = complete(Happening(fields, given_features), known)

    for name in COLUMNS.numbers:
        if name in features:
            assert (values[name], freshness[name]) == (7.0, GIVEN)
        elif freshness[name] is ABSENT:
            assert known is None
            assert math.isnan(values[name])
        elif freshness[name] is STALE:
            assert age > 2 * HOUR
    lags_and_aggregates = {"change", "temp_mean", "hired_mean"} - features
    held = ABSENT if age is None else STALE if age > 2 * HOUR else FRESH
    assert {freshness[name] for name in lags_and_aggregates} <= {held}


def test_a_feature_that_means_something_else_by_now_is_not_taken_from_an_old_vector():
    before = read_pipeline(FILE.replace("temp * (1 - hum)", "temp * hum"), version=7)
    numbers = tuple(float(place) for place in range(len(before.numbers)))

    known = known_of(NOON, numbers, ("sun",), before, PIPELINE)

    assert "warm" not in known.values
    assert known.values["weather"] == "sun"
    assert known.values["temp_mean"] == numbers[COLUMNS.numbers.index("temp_mean")]


# Requests


class Vectors:
    """An online store by hand."""

    is_current = True

    def __init__(self, vectors=None) -> None:
        self.vectors = vectors or {}

    def newest(self, pipeline, entity):
        return self.vectors.get((pipeline, entity))


class Clock:
    def now(self):
        return NOON


def stored(entity="s1", at=NOON - HOUR, version=1, pipeline=PIPELINE):
    values = dict(STORED.values)
    return FeaturesComputed(
        pipeline.name, version, EventId("e0"), EntityId(entity), Instant(at),
        tuple(float(values[name]) for name in Columns.of(pipeline).numbers), ("rain",),
    )  # fmt: skip


def completion(vectors=None, pipeline=PIPELINE):
    pipelines = Pipelines()
    pipelines.apply(PipelineApplied(pipeline.name, (pipeline,)))
    return Completion(pipelines, vectors, Clock())


def tensor(name, data, datatype="FP64"):
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def completed(inputs, vectors=None, pipeline=PIPELINE, **more):
    vectors = Vectors({("bikes", "s1"): stored(), ("bikes", ""): stored("")}) if vectors is None else vectors  # fmt: skip
    body = {"inputs": inputs, **more}
    return completion(vectors or None, pipeline).completed(body, pipeline, 1, Columns.of(pipeline))


def column(found, name):
    [data] = [one["data"] for one in found.body["inputs"] if one["name"] == name]
    return data


def test_entities_are_completed_each_by_its_own_vector():
    found = completed([tensor("station", ["s1", "s2"], "BYTES")])

    assert found.entities == ("s1", "s2")
    assert column(found, "temp_mean")[0] == 18.0
    assert math.isnan(column(found, "temp_mean")[1])
    assert column(found, "weather") == ["rain", ""]
    assert found.parameters["freshness"]["temp_mean"] == [FRESH, ABSENT]
    assert found.parameters["vector_times"] == [rfc3339(Instant(NOON - HOUR)), None]
    assert found.parameters["online_store"] == "current"


def test_an_entity_may_be_a_whole_number_and_the_shape_a_column():
    vectors = Vectors({("bikes", "42"): stored("42")})
    inputs = [{"name": "station", "datatype": "INT64", "shape": [1, 1], "data": [[42]]}]

    found = completed(inputs, vectors)

    assert found.entities == ("42",)
    assert column(found, "temp_mean") == [18.0]


def test_a_store_that_has_not_caught_up_is_told():
    vectors = Vectors()
    vectors.is_current = False

    found = completed([tensor("station", ["s1"], "BYTES")], vectors)

    assert found.parameters["online_store"] == "catching up"


def test_an_event_with_its_time_entity_and_fields():
    found = completed(
        [
            tensor("id", ["e17"], "BYTES"),
            tensor("at", [rfc3339(Instant(NOON + HOUR))], "BYTES"),
            tensor("station", ["s1"], "BYTES"),
            tensor("temp", [30.0]),
            tensor("hum", [None]),
            tensor("code", ["R"], "BYTES"),
            tensor("day", [4], "INT64"),
        ],
        id="r1",
    )

    assert found.body["id"] == "r1"
    assert column(found, "temp") == [30.0]
    assert math.isnan(column(found, "hum")[0])
    assert math.isnan(column(found, "warm")[0])  # computed, of what is missing
    assert column(found, "late_rain") == [4.0]
    assert found.parameters["freshness"]["hum"] == [GIVEN]
    assert found.parameters["freshness"]["change"] == [FRESH]


def test_seconds_since_1970_are_a_time_too():
    at = (NOON + 9 * HOUR) / SECOND
    found = completed([tensor("station", ["s1"], "BYTES"), tensor("at", [at])])

    assert column(found, "hour") == [(NOON + 9 * HOUR) // HOUR % 24]
    assert found.parameters["freshness"]["temp_mean"] == [STALE]


def test_fields_that_are_enough_need_no_entity_and_no_store():
    plain = read_pipeline(FILE[: FILE.index("    - {name: change")] + "  label: {field: cnt, kind: regression}")  # fmt: skip
    names = {"temp": 30.0, "hum": 0.1, "day": 4}
    inputs = [tensor(name, [value]) for name, value in names.items()]
    inputs += [tensor("weather", ["sun"], "BYTES"), tensor("code", ["R"], "BYTES")]

    found = completed(inputs, vectors=False, pipeline=plain)

    assert column(found, "warm") == [27.0]
    assert found.entities == ("",)
    assert "online_store" not in found.parameters


def test_requests_that_bring_every_feature_or_are_none_are_left_alone():
    whole = [tensor(name, [1.0]) for name in COLUMNS.numbers] + [
        tensor("weather", ["sun"], "BYTES")
    ]

    assert completed(whole) is None
    assert completed(whole[1:]) is None  # a forgotten one is refused by whoever reads it
    assert completed([]) is None
    assert completed("strange") is None
    assert completed([{"name": 3}]) is None
    assert completed([tensor("features", [1.0])]) is None
    assert completion().completed([], PIPELINE, 1, COLUMNS) is None


def test_without_a_declared_entity_completing_is_asked_for_by_name():
    alone = read_pipeline(ALONE, version=1)
    inputs = [tensor("temp", [30.0])]

    assert completed(inputs, pipeline=alone) is None
    found = completed(inputs, pipeline=alone, parameters={COMPLETE: True})

    assert column(found, "temp_mean") == [18.0]
    assert found.entities == ("",)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("station", ["s1"], "BYTES"), tensor("tmep", [1.0])], "unknown inputs: tmep"),
        ([tensor("day", [1], "INT64")], "missing inputs: temp, hum, warm"),
        ([tensor("day", [1], "INT64")], "its entity, station"),
        ([tensor("station", ["s1"], "BYTES"), tensor("temp", [1.0, 2.0])], "same number of rows"),
        ([tensor("station", ["s" * 256], "BYTES")], "more than 255 characters"),
        ([tensor("station", [1.5])], "is a category: send BYTES"),
        ([tensor("station", ["s1"], "BYTES"), tensor("temp", ["x"], "BYTES")], "is a number"),
        ([tensor("station", ["s1"], "BYTES"), tensor("code", [1.0])], "is a category"),
        ([tensor("station", ["s1"], "BYTES"), tensor("at", ["noon"], "BYTES")], "no RFC 3339"),
        ([tensor("station", ["s1"], "BYTES"), tensor("at", [-1.0])], "seconds since 1970"),
        ([tensor("station", ["s1"], "BYTES"), tensor("at", [None])], "seconds since 1970"),
        ([tensor("station", ["a"], "BYTES"), tensor("station", ["b"], "BYTES")], "given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_says_what_can_be_sent(inputs, words):
    with pytest.raises(RequestRefusedError, match=words):
        completed(inputs)


def test_where_no_vectors_are_kept_an_entity_is_refused():
    with pytest.raises(RequestRefusedError, match="SERVING_ONLINE_STORE"):
        completed([tensor("station", ["s1"], "BYTES")], vectors=False)


def test_a_vector_of_an_unknown_version_of_the_file_is_as_absent():
    vectors = Vectors({("bikes", "s1"): stored(version=9)})

    found = completed([tensor("station", ["s1"], "BYTES")], vectors)

    assert set(map(tuple, found.parameters["freshness"].values())) == {(ABSENT,)}
