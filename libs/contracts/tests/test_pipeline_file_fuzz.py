"""A pipeline file by a stranger: trees near the grammar, and texts that do harm elsewhere."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_from_json,
    pipeline_to_json,
    pipeline_to_yaml,
    read_pipeline,
)
from millrace_contracts.pipeline_file.tree import MAX_CHARACTERS
from millrace_kernel.pipeline import Pipeline
from millrace_testkit.fuzzing import effort

FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: bikes, owner: a, description: b}
spec:
  source: {topic: millrace.raw.bikes}
  event: {id: id, time: at, entity: station, lateness: 1h, max_ahead: 1m}
  fields: {temp: float, hr: {type: int, required: true}, weather: category, note: string}
  features:
    - {name: warm, expr: temp * 2 > 1}
    - {name: mean, agg: mean, of: temp, window: 24h}
  label: {field: cnt, kind: regression, delay: 1h, maturity: 2h}
  model: {candidates: [xgboost, linear], search: {trials: 2, timeout: 60s}, train_on: {last: 200}, holdout: {last: 20}, seed: 1}
  gates: [{metric: mae, max: 120}, {metric: mae, better_than: champion, confidence: 0.95}]
  promotion: {strategy: manual, min_labels: 2}
  monitoring: {window: 500, data_drift: {method: psi, threshold: 0.2}, concept_drift: {detector: adwin, delta: 0.002}}
  retraining: {on: [drift, schedule], schedule: "0 3 * * *", cooldown: 12h, budget: {runs_per_day: 24}}
"""
WORDS = [
    "bikes", "temp", "label", "event_time", "1h", "99999999999999999999d", "1e400s", "-1s", "", " ", "psi", "mean", "mae", "*" * 9,
    "0 0 31 2 *", "* * * * * * *", "60 * * * *", "champion", "on", "null", "~", ".nan", "\u202e", "x" * 3_000, "((((", "lag(temp, 9999)",
    "temp ** 9 ** 9 ** 9", "millrace.events", "../x", "a\nb", "!!int x", "&a", "*a", "🚀",
]  # fmt: skip
scalars = (
    st.sampled_from(WORDS)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**18, -(10**30), 10**400, 2**63])
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3), max_leaves=6
)  # fmt: skip


@st.composite
def near_the_grammar(draw: st.DrawFn) -> Any:
    """The file with some values changed, taken out or put in, anywhere."""
    tree: Any = yaml.safe_load(FILE.replace(" on:", " 'on':"))
    for _ in range(draw(st.integers(1, 4))):
        holder = tree
        while isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = draw(st.sampled_from(keys))
            if isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 3)):
                holder = holder[key]
                continue
            match draw(st.sampled_from(["change", "take", "put"])):
                case "change":
                    holder[key] = draw(values)
                case "take":
                    del holder[key]
                case _ if isinstance(holder, dict):
                    holder[draw(st.sampled_from(WORDS))] = draw(values)
                case _:
                    holder.append(draw(values))
            break
    return tree


def read(text: str, reader: Any = read_pipeline) -> Pipeline | PipelineFileError:
    """The pipeline, or the refusal: with a line for a text that has lines, a key where there is one, and what to do."""
    try:
        return reader(text)
    except PipelineFileError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.what
            assert problem.fix, problem
            assert len(str(problem)) < 4_000, "a refusal fits on a screen"
            str(problem).encode()
        return error


@effort(80)
@given(near_the_grammar())
def test_a_tree_near_the_grammar_is_a_pipeline_that_survives_being_written_or_is_refused(tree):
    text = json.dumps(tree)
    pipeline = read(text)

    if isinstance(pipeline, Pipeline):
        assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
        assert read_pipeline(pipeline_to_yaml(pipeline), version=pipeline.version) == pipeline
    else:
        assert all(problem.line >= 0 for problem in pipeline.problems)
        assert isinstance(read(text, pipeline_from_json), PipelineFileError)


@effort(40)
@given(near_the_grammar())
def test_yaml_and_json_are_refused_for_the_same(tree):
    """The text of a person and that of a machine are held to the same rules."""
    one, other = read(json.dumps(tree)), read(yaml.safe_dump(tree, sort_keys=False))

    assert isinstance(other, Pipeline) or other.problems[0].line > 0
    if isinstance(one, Pipeline) and isinstance(other, Pipeline):
        assert one == other


LAUGHS = "a0: &a0 [x, x]\n" + "\n".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)
)
DIGITS = "9" * 100_000


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LAUGHS, "anchors (&) and aliases (*)"),
        ("a: &a [*a]", "anchors (&) and aliases (*)"),
        ("a: &a {b: *a}", "anchors (&) and aliases (*)"),
        ("<<: {metadata: {name: a}}\nspec: {}", "is not a key here"),
        ("a: !!python/object/apply:os.system ['true']", "the tag"),
        ("a: !!python/object/new:type {}", "the tag"),
        ("!!python/module:os x", "the tag"),
        ("a: !!binary aGFsbG8=", "the tag"),
        ("a: !!set {x, y}", "the tag"),
        ("a: !!timestamp 2026-11-21", "the tag"),
        ("a: !local x", "the tag"),
        ("%TAG ! tag:evil,2026:\n---\na: !x y", "the tag"),
        ("a: 1\na: 2", "is written twice"),
        ('"a": 1\na: 2', "is written twice"),
        ("--- {}\n--- {}", "not readable as YAML"),
        ("{" * 50_000, "nested more than 20 deep"),
        ("- " * 50_000, "nested more than 20 deep"),
        ("a: " * 30_000, "not readable as YAML"),
        ("?" * 50_000, ""),
        ("\n".join(" " * n + "a:" for n in range(400)), "nested more than 20 deep"),
        ('a: "' + "\\x41" * 50_000 + '"', "is not a key here"),
        ('a: "\\UFFFFFFFF"', "not readable as YAML"),
        ("a: |" + "9" * 1_000, "not readable as YAML"),
        ("# " + "x" * MAX_CHARACTERS, "larger than 256 KB"),
        ("🚀" * (MAX_CHARACTERS // 4 + 1), "larger than 256 KB"),
        ("\ufeff\ufeffa: 1", ""),
        ("a:\tb\n\t- c", "not readable as YAML"),
        (f"metadata: {{name: a}}\nspec: {{model: {{seed: {DIGITS}}}}}", "spec.model.seed"),
        (f"metadata: {{name: a}}\nspec: {{model: {{seed: -{DIGITS}}}}}", "spec.model.seed"),
        ("metadata: {name: a}\nspec: {monitoring: {window: 1e999}}", "spec.monitoring.window"),
        ("metadata: {name: a}\nspec: {monitoring: {window: .nan}}", "spec.monitoring.window"),
        (f"metadata: {{name: a}}\nspec: {{retraining: {{cooldown: {DIGITS}s}}}}", "spec.retraining.cooldown"),
    ],
)  # fmt: skip
def test_a_text_that_does_harm_elsewhere_is_refused_where_it_stands(text, what):
    refusal = read(text)

    assert isinstance(refusal, PipelineFileError)
    assert any(what in str(problem) for problem in refusal.problems), str(refusal)[:500]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, '{"a":' * 20_000, "9" * 100_000, '{"spec":' + DIGITS + "}", '{"a": NaN}', '{"a": -Infinity}', '"\\ud800"',
        '{"metadata": {"name": "a", "version": 1e400}}', '{"metadata": {"name": "\\u0000"}}', "", "null", "[]", "\x00",
        '{"a": 1, "a": 2}', "{} {}", "\ufeff{}",
    ],
)  # fmt: skip
def test_json_that_does_harm_elsewhere_is_refused(text):
    assert isinstance(read(text, pipeline_from_json), PipelineFileError)
