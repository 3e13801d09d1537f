"""How a wrong pipeline file is refused: every problem at once, with its line, its place and the fix."""

import pytest

from millrace_contracts.pipeline_file import PipelineFileError, read_pipeline
from millrace_kernel.errors import PermanentError


def problems_of(text: str) -> list[str]:
    with pytest.raises(PipelineFileError) as caught:
        read_pipeline(text)
    return [str(problem) for problem in caught.value.problems]


class TestARefusal:
    def test_all_problems_are_told_at_once_in_the_order_of_the_lines(self, bikes_file):
        wrong = (
            bikes_file.replace("hr: int", "hr: integer")
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

    def test_problems_carry_line_column_path_and_fix(self, smallest_file):
        with pytest.raises(PipelineFileError) as caught:
            read_pipeline(smallest_file.replace("kind: binary", "kind: binry"))

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
    def test_a_promotion_that_makes_no_sense_is_refused(self, wrong, problem, bikes_file):
        text = bikes_file.replace("{strategy: manual, min_labels: 200}", wrong)

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
    def test_a_value_that_does_not_fit(self, sections, what, a_file):
        told = problems_of(a_file(**sections))

        assert any(what in problem for problem in told), told

    def test_one_mistake_is_told_once(self, a_file):
        wrong = a_file(
            fields={"x": "flot"}, features=[{"name": "a", "expr": "x * 2"}], model={"fallback": "x"}
        )

        (problem,) = problems_of(wrong)
        assert "did you mean 'float'?" in problem
