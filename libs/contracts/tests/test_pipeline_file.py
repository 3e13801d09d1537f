"""Pipeline files: what is read, what is filled in, and how a wrong file is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_schema,
    pipeline_to_json,
    pipeline_to_yaml,
    read_pipeline,
)
from millrace_kernel.errors import PermanentError
from millrace_kernel.pipeline import (
    AggregateFunction,
    Field,
    FieldKind,
    Pipeline,
    Strategy,
    Trigger,
    VectorKind,
)
from millrace_kernel.time import DAY, HOUR, MINUTE

BIKES = """\
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: bikes, owner: city-bikes, description: bikes hired in the next hour}
spec:
  source:   {topic: millrace.raw.bikes}
  event:    {id: id, time: timestamp, entity: station}
  fields:   {hr: int, weekday: int, workingday: bool, weathersit: category, temp: float, hum: float, note: string}
  features:
    - {name: hour, expr: hr}
    - {name: warm_and_dry, expr: temp * (1 - hum)}
    - {name: temp_mean_24h, agg: mean, of: temp, window: 24h}
    - {name: temp_change, expr: temp - lag(temp, 1)}
    - {name: hired_mean_7d, agg: mean, of: label, window: 7d}     # only labels known by then
  label:    {field: cnt, kind: regression, delay: 1h, maturity: 1h}
  model:
    candidates: [xgboost, linear, random_forest]
    search: {trials: 20, timeout: 60s}
    train_on: {last: 20000}
    holdout: {last: 1000}
  gates:
    - {metric: mae, max: 120}
    - {metric: mae, better_than: champion, confidence: 0.95}
  promotion: {strategy: manual, min_labels: 200}
  monitoring:
    window: 500
    data_drift: {method: psi, threshold: 0.2}
    concept_drift: {detector: adwin, delta: 0.002}
  retraining:
    on: [drift, performance, schedule]
    schedule: "0 3 * * *"
    cooldown: 12h
    budget: {runs_per_day: 24, cpu_minutes_per_day: 60}
"""

SMALLEST = """\
metadata: {name: tiny}
spec:
  event: {id: id, time: at}
  fields: {x: float}
  label: {field: y, kind: binary}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(PipelineFileError) as caught:
        read_pipeline(text)
    return [str(problem) for problem in caught.value.problems]


def spec(**sections: object) -> str:
    """A small correct file with some sections of it replaced, as JSON; None removes one."""
    whole: dict[str, object] = {
        "event": {"id": "id", "time": "at"},
        "fields": {"x": "float", "city": "category", "note": "string"},
        "label": {"field": "y", "kind": "regression"},
    }
    whole |= sections
    kept = {key: value for key, value in whole.items() if value is not None}
    return json.dumps({"metadata": {"name": "tiny"}, "spec": kept})


class TestWhatIsRead:
    def test_the_file_of_the_documentation(self):
        bikes = read_pipeline(BIKES, version=3)

        assert (bikes.name, bikes.version, bikes.owner) == ("bikes", 3, "city-bikes")
        assert bikes.event.entity == "station"
        assert [gate.confidence for gate in bikes.gates] == [None, 0.95]
        assert bikes.promotion.strategy is Strategy.MANUAL
        assert bikes.retraining.on == {Trigger.DRIFT, Trigger.PERFORMANCE, Trigger.SCHEDULE}
        assert bikes.retraining.cooldown == 12 * HOUR

    def test_fields_are_features_first_and_listed_ones_follow(self):
        bikes = read_pipeline(BIKES)

        names = ["hr", "weekday", "workingday", "weathersit", "temp", "hum"]
        listed = ["hour", "warm_and_dry", "temp_mean_24h", "temp_change", "hired_mean_7d"]
        assert [feature.name for feature in bikes.features] == names + listed
        assert [feature.field for feature in bikes.features[:6]] == names
        assert bikes.features[3].kind is VectorKind.CATEGORY
        assert bikes.features[8].function is AggregateFunction.MEAN
        assert (bikes.features[8].of, bikes.features[8].window) == ("temp", DAY)
        assert bikes.aggregates_labels

    def test_every_key_but_event_fields_label_and_name_has_a_default(self):
        tiny = read_pipeline(SMALLEST)

        assert tiny.topic == "millrace.raw.tiny"
        assert (tiny.event.entity, tiny.event.lateness, tiny.event.max_ahead) == (
            None,
            HOUR,
            5 * MINUTE,
        )
        assert (tiny.label.delay, tiny.label.maturity, tiny.label.topic, tiny.label.positive) == (
            0,
            0,
            None,
            None,
        )
        assert tiny.model.candidates == ("xgboost",)
        assert (tiny.model.train_on_last, tiny.model.first_after, tiny.model.holdout_last) == (
            20_000,
            1000,
            1000,
        )
        assert (tiny.model.trials, tiny.model.timeout, tiny.model.seed, tiny.model.fallback) == (
            1,
            MINUTE,
            0,
            None,
        )
        assert tiny.gates == ()
        assert tiny.promotion.strategy is Strategy.DIRECT
        assert (tiny.monitoring.window, tiny.monitoring.performance_tolerance) == (500, 0.25)
        assert tiny.retraining.on == {Trigger.DRIFT, Trigger.PERFORMANCE}
        assert (tiny.retraining.runs_per_day, tiny.retraining.cpu_minutes_per_day) == (24, 60.0)

    def test_maturity_is_the_delay_unless_it_is_written(self):
        tiny = read_pipeline(spec(label={"field": "y", "kind": "regression", "delay": "2h"}))

        assert tiny.label.maturity == 2 * HOUR

    def test_a_field_can_be_optional_and_need_not_be_a_feature(self):
        tiny = read_pipeline(
            spec(fields={"x": "float", "z": {"type": "int", "required": False, "feature": False}})
        )

        assert tiny.fields[1] == Field("z", FieldKind.INT, required=False)
        assert [feature.name for feature in tiny.features] == ["x"]

    def test_a_schedule_is_followed_without_saying_so_twice(self):
        tiny = read_pipeline(spec(retraining={"schedule": "*/5 * * * *"}))

        assert tiny.retraining.on == {Trigger.DRIFT, Trigger.PERFORMANCE, Trigger.SCHEDULE}

    def test_words_that_older_yaml_takes_for_booleans_are_texts(self):
        tiny = read_pipeline(SMALLEST.replace("kind: binary", "kind: binary, positive: yes"))

        assert tiny.label.positive == "yes"

    @pytest.mark.parametrize(
        "expression",
        ["temp - lag(temp, 1)", "max(temp, hum, min(hr, 1))", 'if(weathersit == "UA", 1, 0)'],
    )
    def test_an_expression_needs_no_quotes_for_the_commas_in_its_brackets(self, expression):
        bikes = read_pipeline(BIKES.replace("expr: hr}", f"expr: {expression}}}"))

        assert bikes.features[6].expression == expression

    def test_json_with_escaped_pairs_is_read_as_the_character(self):
        text = SMALLEST.replace("name: tiny", 'name: tiny, owner: "\\ud83d\\ude80"')

        assert read_pipeline(text).owner == "🚀"


class TestTheCanonicalForm:
    def test_it_reads_back_as_the_same_pipeline(self):
        bikes = read_pipeline(BIKES, version=7)

        assert pipeline_from_json(pipeline_to_json(bikes)) == bikes
        assert read_pipeline(pipeline_to_yaml(bikes), version=7) == bikes

    def test_the_order_of_fields_is_the_files(self):
        tiny = read_pipeline(spec(fields={"b": "float", "a": "float"}))

        again = pipeline_from_json(pipeline_to_json(tiny))
        assert [field.name for field in again.fields] == ["b", "a"]

    def test_keys_are_sorted_and_defaults_written(self):
        text = pipeline_to_json(read_pipeline(SMALLEST, version=2))

        assert text.startswith(
            '{"apiVersion":"millrace/v1","kind":"Pipeline","metadata":{"description":"","name":"tiny"'
        )
        assert json.loads(text)["metadata"]["version"] == 2
        assert json.loads(text)["spec"]["retraining"]["cooldown"] == "1h"

    def test_the_digest_is_of_the_meaning_and_not_of_the_text(self):
        written_out = pipeline_to_yaml(read_pipeline(SMALLEST, version=5))

        assert pipeline_digest(read_pipeline(written_out)) == pipeline_digest(
            read_pipeline(SMALLEST)
        )
        assert pipeline_digest(read_pipeline(SMALLEST)) != pipeline_digest(read_pipeline(BIKES))

    @pytest.mark.parametrize(
        "written",
        [
            "{strategy: shadow, min_labels: 5, max_labels: 50, confidence: 0.95, shadow_from: 7d}",
            "{strategy: canary, steps: [0.5, 100], limits: {latency: 5ms, errors: 0.2}}",
            "{strategy: canary}",
        ],
    )
    def test_holds_all_that_a_comparison_needs(self, written):
        text = BIKES.replace("{strategy: manual, min_labels: 200}", written)
        pipeline = read_pipeline(text, version=3)

        assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
        assert read_pipeline(pipeline_to_yaml(pipeline), version=3) == pipeline

    def test_of_a_comparison_has_defaults_that_work(self):
        text = BIKES.replace("{strategy: manual, min_labels: 200}", "{strategy: canary}")
        promotion = read_pipeline(text).promotion

        assert (promotion.min_labels, promotion.max_labels, promotion.confidence) == (
            200,
            10_000,
            0.99,
        )
        assert promotion.steps == (1.0, 5.0, 25.0, 100.0)

    def test_says_of_a_comparison_only_what_its_strategy_looks_at(self):
        """A file that compares nothing keeps the digest it had before there were comparisons."""
        assert '"promotion":{"min_labels":200,"strategy":"manual"}' in pipeline_to_json(
            read_pipeline(BIKES)
        )


class TestARefusal:
    def test_all_problems_are_told_at_once_in_the_order_of_the_lines(self):
        wrong = (
            BIKES.replace("hr: int", "hr: integer")
            .replace("agg: mean, of: temp", "agg: avg, of: temp")
            .replace("holdout:", "holdou:")
            .replace("cooldown: 12h", "cooldown: 12")
        )

        assert problems_of(wrong) == [
            "line 7: spec.fields.hr: 'integer' is not one of float, int, bool, string, category, text, timestamp; "
            "did you mean 'int'?",
            "line 11: spec.features[2].agg: 'avg' is not one of count, sum, mean, min, max, std, last; did you mean 'mean'?",
            "line 19: spec.model.holdou: is not a key here; did you mean 'holdout'?",
            "line 31: spec.retraining.cooldown: 12 has no unit; write e.g. 12s, 12m, 12h or 12d",
        ]

    def test_problems_carry_line_column_path_and_fix(self):
        with pytest.raises(PipelineFileError) as caught:
            read_pipeline(SMALLEST.replace("kind: binary", "kind: binry"))

        (problem,) = caught.value.problems
        assert (problem.line, problem.column, problem.path) == (5, 21, "spec.label.kind")
        assert problem.fix == "did you mean 'binary'?"
        assert isinstance(caught.value, PermanentError)

    @pytest.mark.parametrize(
        ("wrong", "problem"),
        [
            (
                "{strategy: direct, max_labels: 500}",
                "line 23: spec.promotion.max_labels: is never used with strategy direct; "
                "write strategy: shadow or canary, or remove it",
            ),
            (
                "{strategy: canary, shadow_from: 7d}",
                "line 23: spec.promotion.shadow_from: is never used with strategy canary; "
                "write strategy: shadow, or remove it",
            ),
            (
                "{strategy: shadow, steps: [1, 100]}",
                "line 23: spec.promotion.steps: is never used with strategy shadow; "
                "write strategy: canary, or remove it",
            ),
            (
                "{strategy: shadow, min_labels: 50, max_labels: 20}",
                "line 23: spec.promotion.max_labels: is less than min_labels (50); "
                "write more, or lower min_labels",
            ),
            (
                "{strategy: canary, steps: [5, 1, 100]}",
                "line 23: spec.promotion.steps: [5.0, 1.0, 100.0] does not grow to 100; "
                "write per cents of the entities, each more than the one before, e.g. [1, 5, 25, 100]",
            ),
            (
                "{strategy: canary, steps: [1, 50]}",
                "line 23: spec.promotion.steps: [1.0, 50.0] does not grow to 100; "
                "write per cents of the entities, each more than the one before, e.g. [1, 5, 25, 100]",
            ),
            (
                "{strategy: canary, steps: [0, 100]}",
                "line 23: spec.promotion.steps[0]: 0 is too small; write at least 0.01",
            ),
            (
                "{strategy: shadow, limits: {latency: 5}}",
                "line 23: spec.promotion.limits.latency: 5 has no unit; write e.g. 5s, 5m, 5h or 5d",
            ),
            (
                "{strategy: shadow, limits: {error: 0.1}}",
                "line 23: spec.promotion.limits.error: is not a key here; did you mean 'errors'?",
            ),
        ],
    )
    def test_a_promotion_that_makes_no_sense_is_refused(self, wrong, problem):
        text = BIKES.replace("{strategy: manual, min_labels: 200}", wrong)

        assert problems_of(text) == [problem]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("", "the file is empty"),
            ("- a\n- b", "the file is not a mapping"),
            ("a: [", "not readable as YAML"),
            ("metadata: &x {name: a}\nspec: *x", "anchors (&) and aliases (*)"),
            ("[" * 10_000, "nested more than 20 deep"),
            ("x" * 300_000, "larger than 256 KB"),
            ("a: \x00", "can't stand in a file"),
            ('a: "\\ud800"', "can't stand in a text"),
            ("a: !!python/name:os.system x", "is not understood"),
            ("? [a]\n: b", "a key is a list or a mapping"),
            ("metadata: {name: a}\nmetadata: {name: b}", "is written twice, first in line 1"),
            ("metadata: {name: a}", "spec: is missing"),
            ("spec: {}", "spec.event: is missing; add it, e.g. event: {id: id, time: timestamp}"),
        ],
    )
    def test_a_text_that_is_no_such_file(self, text, what):
        assert any(what in problem for problem in problems_of(text))

    @pytest.mark.parametrize(
        ("sections", "what"),
        [
            ({"fields": {}}, "spec.fields: is not a mapping of fields"),
            ({"fields": {"a-b": "float"}}, "is not a field's name"),
            ({"fields": {"label": "float"}}, "means the label itself"),
            ({"fields": {"x": "float", "y": "int"}}, "a feature would know the answer"),
            ({"fields": {"note": {"type": "string", "feature": True}}}, "a string is no feature by itself"),
            ({"fields": {"note": "string"}}, "none of the fields is a feature"),
            ({"features": [{"name": "x", "expr": "x"}]}, "'x' is a field's name"),
            ({"features": [{"name": "a", "expr": "x"}, {"name": "a", "expr": "x"}]}, "also the name of spec.features[0]"),
            ({"features": [{"name": "a"}]}, "says neither expr nor agg"),
            ({"features": [{"name": "a", "expr": "x", "agg": "mean"}]}, "does not go with expr"),
            ({"features": [{"name": "a", "expr": "x +"}]}, "spec.features[0].expr"),
            ({"features": [{"name": "a", "expr": "xx * 2"}]}, "unknown field `xx`"),
            ({"features": [{"name": "a", "expr": "city"}]}, "a text stands where a number is needed"),
            ({"features": [{"name": "a", "agg": "mean", "of": "x"}]}, "mean over which time?"),
            ({"features": [{"name": "a", "agg": "mean", "window": "1h"}]}, "mean of what?"),
            ({"features": [{"name": "a", "agg": "count", "of": "x", "window": "1h"}]}, "does not go with count"),
            ({"features": [{"name": "a", "agg": "mean", "of": "city", "window": "1h"}]}, "is a category, not a number"),
            ({"features": [{"name": "a", "agg": "mean", "of": "z", "window": "1h"}]}, "'z' is not a field"),
            ({"features": [{"name": "a", "agg": "mean", "of": "x", "window": "1 hour"}]}, "is not a duration"),
            ({"label": {"field": "y", "kind": "regression", "positive": "a"}}, "does not go with kind regression"),
            ({"label": {"field": "y", "kind": "regression", "delay": "2h", "maturity": "1h"}}, "shorter than the delay"),
            ({"label": {"field": "id", "kind": "regression"}}, "is the event's id or time"),
            ({"label": {"field": "y", "kind": "regression", "topic": "millrace.raw.tiny"}}, "is the source's topic"),
            ({"source": {"topic": "millrace.events"}}, "one of Millrace's own topics"),
            ({"model": {"candidates": ["logistic"]}}, "did you mean 'linear'?"),
            ({"model": {"candidates": []}}, "is too short"),
            ({"model": {"fallback": "z"}}, "'z' is not a feature"),
            ({"model": {"fallback": "city"}}, "is not a number, as regression needs"),
            ({"model": {"fallback": [1]}}, "neither a feature's name nor a number"),
            ({"model": {"seed": "1"}}, "'1' is not a whole number"),
            ({"gates": [{"metric": "accuracy", "min": 0.9}]}, "'accuracy' is not one of mae, rmse, r2"),
            ({"gates": [{"metric": "mae"}]}, "says neither a bound nor better_than"),
            ({"gates": [{"metric": "mae", "max": 1, "better_than": "champion"}]}, "both a bound and better_than"),
            ({"gates": [{"metric": "mae", "max": 1, "confidence": 0.9}]}, "goes with better_than only"),
            ({"gates": [{"metric": "mae", "better_than": "champion", "confidence": 1.5}]}, "too large; write less than 1"),
            ({"retraining": {"schedule": "@daily"}}, "is not five cron fields"),
            ({"retraining": {"schedule": "61 * * * *"}}, "is not five cron fields"),
            ({"retraining": {"schedule": "H(9-70) 3 * * *"}}, "is not five cron fields"),
            ({"retraining": {"schedule": "H/15 3 * * *"}}, "is not five cron fields"),
            ({"retraining": {"schedule": "R 3 * * *"}}, "is not five cron fields"),
            ({"retraining": {"on": ["schedule"]}}, "says schedule, and there is none"),
            ({"retraining": {"on": ["drift"], "schedule": "0 3 * * *"}}, "is never used"),
            ({"monitoring": {"window": True}}, "True is not a whole number"),
            ({"monitoring": None, "event": None}, "spec.event: is missing"),
            ({"promotion": []}, "is not a mapping"),
        ],
    )  # fmt: skip
    def test_a_value_that_does_not_fit(self, sections, what):
        told = problems_of(spec(**sections))

        assert any(what in problem for problem in told), told

    def test_one_mistake_is_told_once(self):
        wrong = spec(
            fields={"x": "flot"}, features=[{"name": "a", "expr": "x * 2"}], model={"fallback": "x"}
        )

        (problem,) = problems_of(wrong)
        assert "did you mean 'float'?" in problem


class TestTheSchema:
    def test_it_names_every_section_and_the_keys_that_must_be(self):
        schema = pipeline_schema()

        assert schema["required"] == ["metadata", "spec"]
        assert schema["$defs"]["SpecForm"]["required"] == ["event", "fields", "label"]
        assert schema["$defs"]["SpecForm"]["additionalProperties"] is False


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)
DURATIONS = st.integers(1, 400 * DAY)
SHARES = st.floats(0.001, 0.999)


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Pipelines made from the documentation's, with every kind of value varied."""
    fields = draw(
        st.dictionaries(NAMES, st.sampled_from(["float", "int", "bool"]), min_size=1, max_size=5)
    )
    fields.pop("label", None)
    fields["plain"] = "float"
    document = {
        "metadata": {
            "name": draw(st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)),
            "owner": draw(TEXTS),
            "description": draw(TEXTS),
        },
        "spec": {
            "event": {"id": draw(TEXTS), "time": draw(TEXTS)},
            "fields": fields,
            "features": [
                {"name": "zz_listed", "agg": "sum", "of": "plain", "window": f"{draw(DURATIONS)}us"}
            ],
            "label": {
                "field": "the label",
                "kind": "binary",
                "delay": f"{draw(DURATIONS)}us",
                "positive": draw(TEXTS),
            },
            "model": {"fallback": draw(st.none() | SHARES | st.just("plain"))},
            "gates": [{"metric": "log_loss", "max": draw(st.floats(-1e300, 1e300))}],
            "monitoring": {"concept_drift": {"delta": draw(SHARES)}},
        },
    }
    return read_pipeline(json.dumps(document), version=draw(st.integers(0, 9)))


@given(pipelines())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(pipeline):
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert read_pipeline(pipeline_to_yaml(pipeline), version=pipeline.version) == pipeline
    assert pipeline_digest(replace(pipeline, version=99)) == pipeline_digest(pipeline)


@given(st.text() | st.text("[]{}:,-&*!|>'\"#%@` \n\tab1.~?"))
@settings(max_examples=150, deadline=None)
def test_arbitrary_text_is_refused_with_problems_and_nothing_else(text):
    for read in (read_pipeline, pipeline_from_json):
        with pytest.raises(PipelineFileError) as caught:
            read(text)
        assert caught.value.problems


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1h", "mean", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [
        "metadata",
        "source",
        "event",
        "fields",
        "features",
        "label",
        "model",
        "gates",
        "promotion",
        "monitoring",
        "retraining",
    ]
)
INNER = st.sampled_from(
    [
        "name",
        "expr",
        "agg",
        "of",
        "window",
        "on",
        "schedule",
        "type",
        "metric",
        "max",
        "fallback",
        "search",
        "kind",
        "delay",
        "x",
    ]
)


@given(
    PLACES,
    VALUES | st.dictionaries(INNER, VALUES) | st.lists(st.dictionaries(INNER, VALUES), max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_is_read_or_refused(place, value):
    document = json.loads(spec())
    (document if place == "metadata" else document["spec"])[place] = value
    for read in (read_pipeline, pipeline_from_json):
        try:
            read(json.dumps(document))
        except PipelineFileError as error:
            assert error.problems  # noqa: PT017 either outcome is right
