"""Pipeline files: what is read, what is filled in, and the canonical form that travels."""

import json

import pytest

from millrace_contracts.pipeline_file import (
    pipeline_digest,
    pipeline_from_json,
    pipeline_schema,
    pipeline_to_json,
    pipeline_to_yaml,
    read_pipeline,
)
from millrace_kernel.pipeline import (
    AggregateFunction,
    Field,
    FieldKind,
    Strategy,
    Trigger,
    VectorKind,
)
from millrace_kernel.time import DAY, HOUR, MINUTE


class TestWhatIsRead:
    def test_the_file_of_the_documentation(self, bikes_file):
        bikes = read_pipeline(bikes_file, version=3)

        assert (bikes.name, bikes.version, bikes.owner) == ("bikes", 3, "city-bikes")
        assert bikes.event.entity == "station"
        assert [gate.confidence for gate in bikes.gates] == [None, 0.95]
        assert bikes.promotion.strategy is Strategy.MANUAL
        assert bikes.retraining.on == {Trigger.DRIFT, Trigger.PERFORMANCE, Trigger.SCHEDULE}
        assert bikes.retraining.cooldown == 12 * HOUR

    def test_fields_are_features_first_and_listed_ones_follow(self, bikes_file):
        bikes = read_pipeline(bikes_file)

        names = ["hr", "weekday", "workingday", "weathersit", "temp", "hum"]
        listed = ["hour", "warm_and_dry", "temp_mean_24h", "temp_change", "hired_mean_7d"]
        assert [feature.name for feature in bikes.features] == names + listed
        assert [feature.field for feature in bikes.features[:6]] == names
        assert bikes.features[3].kind is VectorKind.CATEGORY
        assert bikes.features[8].function is AggregateFunction.MEAN
        assert (bikes.features[8].of, bikes.features[8].window) == ("temp", DAY)
        assert bikes.aggregates_labels

    def test_every_key_but_event_fields_label_and_name_has_a_default(self, smallest_file):
        tiny = read_pipeline(smallest_file)

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

    def test_maturity_is_the_delay_unless_it_is_written(self, a_file):
        tiny = read_pipeline(a_file(label={"field": "y", "kind": "regression", "delay": "2h"}))

        assert tiny.label.maturity == 2 * HOUR

    def test_a_field_can_be_optional_and_need_not_be_a_feature(self, a_file):
        tiny = read_pipeline(
            a_file(fields={"x": "float", "z": {"type": "int", "required": False, "feature": False}})
        )

        assert tiny.fields[1] == Field("z", FieldKind.INT, required=False)
        assert [feature.name for feature in tiny.features] == ["x"]

    def test_a_schedule_is_followed_without_saying_so_twice(self, a_file):
        tiny = read_pipeline(a_file(retraining={"schedule": "*/5 * * * *"}))

        assert tiny.retraining.on == {Trigger.DRIFT, Trigger.PERFORMANCE, Trigger.SCHEDULE}

    def test_words_that_older_yaml_takes_for_booleans_are_texts(self, smallest_file):
        tiny = read_pipeline(smallest_file.replace("kind: binary", "kind: binary, positive: yes"))

        assert tiny.label.positive == "yes"

    @pytest.mark.parametrize(
        "expression",
        ["temp - lag(temp, 1)", "max(temp, hum, min(hr, 1))", 'if(weathersit == "UA", 1, 0)'],
    )
    def test_an_expression_needs_no_quotes_for_the_commas_in_its_brackets(
        self, expression, bikes_file
    ):
        bikes = read_pipeline(bikes_file.replace("expr: hr}", f"expr: {expression}}}"))

        assert bikes.features[6].expression == expression

    def test_json_with_escaped_pairs_is_read_as_the_character(self, smallest_file):
        text = smallest_file.replace("name: tiny", 'name: tiny, owner: "\\ud83d\\ude80"')

        assert read_pipeline(text).owner == "🚀"


class TestTheCanonicalForm:
    def test_it_reads_back_as_the_same_pipeline(self, bikes_file):
        bikes = read_pipeline(bikes_file, version=7)

        assert pipeline_from_json(pipeline_to_json(bikes)) == bikes
        assert read_pipeline(pipeline_to_yaml(bikes), version=7) == bikes

    def test_the_order_of_fields_is_the_files(self, a_file):
        tiny = read_pipeline(a_file(fields={"b": "float", "a": "float"}))

        again = pipeline_from_json(pipeline_to_json(tiny))
        assert [field.name for field in again.fields] == ["b", "a"]

    def test_keys_are_sorted_and_defaults_written(self, smallest_file):
        text = pipeline_to_json(read_pipeline(smallest_file, version=2))

        assert text.startswith(
            '{"apiVersion":"millrace/v1","kind":"Pipeline","metadata":{"description":"","name":"tiny"'
        )
        assert json.loads(text)["metadata"]["version"] == 2
        assert json.loads(text)["spec"]["retraining"]["cooldown"] == "1h"

    def test_the_digest_is_of_the_meaning_and_not_of_the_text(self, bikes_file, smallest_file):
        written_out = pipeline_to_yaml(read_pipeline(smallest_file, version=5))

        assert pipeline_digest(read_pipeline(written_out)) == pipeline_digest(
            read_pipeline(smallest_file)
        )
        assert pipeline_digest(read_pipeline(smallest_file)) != pipeline_digest(
            read_pipeline(bikes_file)
        )

    @pytest.mark.parametrize(
        "written",
        [
            "{strategy: shadow, min_labels: 5, max_labels: 50, confidence: 0.95, shadow_from: 7d}",
            "{strategy: canary, steps: [0.5, 100], limits: {latency: 5ms, errors: 0.2}}",
            "{strategy: canary}",
        ],
    )
    def test_holds_all_that_a_comparison_needs(self, written, bikes_file):
        text = bikes_file.replace("{strategy: manual, min_labels: 200}", written)
        pipeline = read_pipeline(text, version=3)

        assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
        assert read_pipeline(pipeline_to_yaml(pipeline), version=3) == pipeline

    def test_of_a_comparison_has_defaults_that_work(self, bikes_file):
        text = bikes_file.replace("{strategy: manual, min_labels: 200}", "{strategy: canary}")
        promotion = read_pipeline(text).promotion

        assert (promotion.min_labels, promotion.max_labels, promotion.confidence) == (
            200,
            10_000,
            0.99,
        )
        assert promotion.steps == (1.0, 5.0, 25.0, 100.0)

    def test_says_of_a_comparison_only_what_its_strategy_looks_at(self, bikes_file):
        """A file that compares nothing keeps the digest it had before there were comparisons."""
        assert '"promotion":{"min_labels":200,"strategy":"manual"}' in pipeline_to_json(
            read_pipeline(bikes_file)
        )


class TestTheSchema:
    def test_it_names_every_section_and_the_keys_that_must_be(self):
        schema = pipeline_schema()

        assert schema["required"] == ["metadata", "spec"]
        assert schema["$defs"]["SpecForm"]["required"] == ["event", "fields", "label"]
        assert schema["$defs"]["SpecForm"]["additionalProperties"] is False
