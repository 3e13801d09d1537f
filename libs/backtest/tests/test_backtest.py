"""The loop and the baselines over a stream that changes in the middle."""

import json
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from millrace_backtest.backtest import NamedPolicy, Settings, backtest, gain_captured, report
from millrace_backtest.errors import BacktestError
from millrace_backtest.fits import FitStore, Request, Trainer
from millrace_backtest.noise import Lead, lead
from millrace_backtest.page import page
from millrace_backtest.policies import own_policy, policy_of
from millrace_backtest.recording import recorded
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.time import HOUR, MINUTE, Duration

SETTINGS = Settings(windows=10, latency=Duration(30 * MINUTE))


@pytest.fixture(scope="module")
def said(recording, fits):
    own = own_policy(recording.pipeline)
    return report(backtest(recording, [own], FitStore(fits), SETTINGS))


def test_the_loop_mends_what_frozen_suffers_from(said):
    policy = said["policies"][0]
    assert policy["frozen"] > 2 * policy["every"]
    assert policy["loop"] < 0.75 * policy["frozen"]
    assert policy["gain_captured"] == pytest.approx(
        (policy["frozen"] - policy["loop"]) / (policy["frozen"] - policy["every"])
    )
    assert 0 < policy["retrains"] < policy["every_retrains"] == 9
    assert policy["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("metric", "loop", "frozen", "every", "captured"),
    [
        ("accuracy", 0.85, 0.80, 0.90, 0.5),
        ("mae", 8.0, 10.0, 6.0, 0.5),
        ("accuracy", 0.70, 0.90, 0.80, None),  # to retrain did harm, and the policy did more of it
        ("mae", 14.0, 10.0, 12.0, None),
        ("accuracy", 0.85, 0.80, 0.801, None),
    ],
)
def test_a_share_is_told_of_a_gain_only(metric, loop, frozen, every, captured):
    found = gain_captured(metric, loop, frozen, every)

    assert found == (None if captured is None else pytest.approx(captured))


def test_every_window_is_told(said):
    series = said["policies"][0]["series"]
    assert len(series) == 10
    last = series[-1]
    assert last["events"] == said["scored"]
    assert [point["until"] for point in series] == sorted(point["until"] for point in series)
    for name in ("loop", "frozen", "every", "periodic", "adwin"):
        assert last["so_far"][name] == pytest.approx(said["policies"][0][name])


def test_a_kept_fit_that_is_damaged_is_made_again(recording, tmp_path):
    request = Request(recording.labels[120].recorded_at)
    made = Trainer(recording, FitStore(tmp_path)).run(recording.pipeline, request)
    (kept,) = tmp_path.rglob("*.fit")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    store = FitStore(tmp_path)
    assert Trainer(recording, store).run(recording.pipeline, request).artifact == made.artifact
    assert (store.found, store.made, len(kept.read_bytes()) > 100) == (0, 1, True)
    assert Trainer(recording, store).run(recording.pipeline, request).artifact == made.artifact
    assert (store.found, store.made) == (1, 1)


def test_the_same_backtest_gives_the_same_bytes(recording, said, tmp_path):
    """With the fits that were kept to the byte; without them, all but the CPU seconds that are measured."""
    own = [own_policy(recording.pipeline)]
    again = report(backtest(recording, own, FitStore(None), SETTINGS))
    timed = {
        "cpu_seconds",
        *(f"{name}_cpu_seconds" for name in ("frozen", "every", "periodic", "adwin")),
    }

    def untimed(value):
        if isinstance(value, dict):
            return {key: untimed(each) for key, each in value.items() if key not in timed}
        return [untimed(each) for each in value] if isinstance(value, list) else value

    # which borders `periodic` takes follows from measured costs
    for each in (again, said):
        assert each["policies"][0]["every"] == said["policies"][0]["every"]
    keep = FitStore(tmp_path)
    first = report(backtest(recording, own, keep, SETTINGS))
    made = keep.made
    second = report(backtest(recording, own, keep, SETTINGS))
    assert json.dumps(first) == json.dumps(second)
    assert page(first) == page(second)
    assert keep.made == made > 0
    assert [run["because"] for run in again["policies"][0]["runs"]] == [
        run["because"] for run in first["policies"][0]["runs"]
    ]
    assert untimed(again["policies"][0]["runs"]) == untimed(first["policies"][0]["runs"])


class _Tags(HTMLParser):
    """What stands open, and how often each tag came."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.texts = [], Counter(), []

    def handle_starttag(self, tag, attrs):
        self.seen[tag] += 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_well_formed_and_draws_every_line_twice(said):
    written, tags = page(said), _Tags()
    tags.feed(written)
    assert tags.open == []
    assert tags.seen["svg"] == 2
    assert tags.seen["polyline"] == 2 * 5  # the loop and the four baselines
    assert tags.seen["tr"] == 1 + 5 + 1 + len(said["policies"][0]["runs"])
    assert "nan" not in written
    share = f"{said['policies'][0]['gain_captured']:.0%} of every's gain"
    assert any(share in text for text in tags.texts)


def test_nothing_is_learnt_before_it_is_known(recording, fits):
    """A label two hours late: a run learns from nothing of the last two hours."""
    trainer = Trainer(recording, FitStore(fits))
    at = recording.recorded_at[200]
    known = trainer.labelled_by(at)
    assert (
        known == 199
    )  # events 0 to 198: the label of 198 came at the time of event 200, before it


def test_a_model_answers_only_after_its_training(recording, fits):
    own = own_policy(recording.pipeline)
    slow = replace(SETTINGS, latency=Duration(50 * HOUR))
    done = backtest(recording, [own], FitStore(fits), slow)
    first = done.outcomes[0].loop.runs[0]
    assert first.ended == first.asked + 50 * HOUR == recording.recorded_at[done.windows.start]
    assert np.isnan(done.outcomes[0].loop.answers[: done.windows.start]).all()
    assert np.isfinite(done.outcomes[0].answers).all()
    late, soon = (report(each)["policies"][0]["every"] for each in (done, _soon(recording, fits)))
    assert late > soon


def _soon(recording, fits):
    return backtest(recording, [own_policy(recording.pipeline)], FitStore(fits), SETTINGS)


def test_a_run_that_a_drift_asked_for_learns_what_came_since_where_that_is_better(played, fits):
    """The slope turns at 700 of 2,000: mixed with what came before, nothing is right."""
    text = """
metadata: {name: mill}
spec:
  event: {id: id, time: at}
  fields: {x: float, z: float}
  label: {field: y, kind: regression, delay: 2h}
  model: {candidates: [linear], train_on: {last: 1500, first: 600}, holdout: {last: 30}}
  monitoring: {window: 50}
  retraining: {on: [drift, performance], cooldown: 400h}
"""
    mill = read_pipeline(text, version=1)
    recording = recorded(mill, played(2000, change_at=700))
    done = backtest(recording, [own_policy(mill)], FitStore(fits), SETTINGS)
    runs = done.outcomes[0].loop.runs
    learnt = {run.train_rows for run in runs if run.trigger != "first"}
    assert 200 < min(learnt) < 600
    assert report(done)["policies"][0]["loop"] < report(done)["policies"][0]["every"]


def test_what_is_fitted_is_timed_and_what_is_found_costs_nothing(recording, tmp_path):
    made, found = FitStore(tmp_path), FitStore(tmp_path)
    for store in (made, found):
        Trainer(recording, store).run(recording.pipeline, Request(recording.recorded_at[400]))
    assert made.fitting_seconds > 0.0 == found.fitting_seconds


def test_two_policies_share_the_baselines(recording, fits):
    never = policy_of(recording.pipeline, "retraining: {on: []}", "never")
    own = own_policy(recording.pipeline)
    first, second = report(backtest(recording, [own, never], FitStore(fits), SETTINGS))["policies"]
    assert (first["every"], first["frozen"]) == (second["every"], second["frozen"])
    assert second["retrains"] == 0
    assert second["loop"] == pytest.approx(second["frozen"])
    assert second["gain_captured"] == pytest.approx(0.0, abs=1e-9)


def test_a_stream_without_change_has_nothing_to_gain(pipeline, played, fits):
    still = recorded(pipeline, played(400, change_at=400))
    policy = report(backtest(still, [own_policy(pipeline)], FitStore(fits), SETTINGS))["policies"][
        0
    ]
    assert policy["loop"] == pytest.approx(policy["frozen"], rel=0.05)


def test_a_candidate_that_a_gate_stops_never_answers(recording, fits):
    strict = policy_of(
        recording.pipeline, "name: strict\ngates: [{metric: mae, max: 0.0001}]", "file"
    )
    done = backtest(recording, [strict], FitStore(fits), SETTINGS)
    policy = report(done)["policies"][0]
    assert policy["name"] == "strict"
    assert policy["promotions"] == 0
    assert policy["rejected"] == len(policy["runs"]) >= 1
    assert not np.isfinite(done.outcomes[0].answers).any()


def test_classes_are_answered_and_scored(fits, played):
    """The sign of y as a class: what a regression's stream gives to a multiclass pipeline."""
    import orjson

    text = """
metadata: {name: signs}
spec:
  event: {id: id, time: at}
  fields: {x: float, z: float}
  label: {field: y, kind: multiclass, delay: 2h}
  model: {candidates: [logistic], train_on: {last: 150, first: 100}, holdout: {last: 30}}
  monitoring: {window: 50}
"""
    messages = []
    for sent in played(400, change_at=250):
        body = orjson.loads(sent.value)
        if "label" in body:
            body["label"] = "up" if body["label"] > 0 else "down"
        messages.append(replace(sent, value=orjson.dumps(body)))
    signs = read_pipeline(text, version=1)
    recording = recorded(signs, messages)
    policy = report(backtest(recording, [own_policy(signs)], FitStore(fits), SETTINGS))["policies"][
        0
    ]
    assert policy["metric"] == "accuracy"
    assert policy["frozen"] < policy["every"]
    assert policy["loop"] > policy["frozen"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no retraining"),
        ("nonsense: 1", "no such key: nonsense"),
        ("retraining: {on: [sunrise]}", "sunrise"),
        ("a: [", "policy file"),
    ],
)
def test_a_policy_file_that_says_nothing_is_refused(pipeline, text, said):
    with pytest.raises(BacktestError, match=said):
        policy_of(pipeline, text, "file")


def test_too_little_data_is_refused(pipeline, played, fits):
    short = recorded(pipeline, played(110, change_at=50))
    with pytest.raises(BacktestError, match=r"lower model\.train_on\.first"):
        backtest(short, [NamedPolicy("own", pipeline)], FitStore(fits), SETTINGS)


def test_a_metric_that_the_label_does_not_have_is_refused(recording, fits):
    asked = replace(SETTINGS, metric="roc_auc")
    with pytest.raises(BacktestError, match="no metric 'roc_auc'"):
        backtest(recording, [own_policy(recording.pipeline)], FitStore(fits), asked)


def test_rows_of_another_pipeline_are_refused(pipeline, played):
    other = [
        replace(sent, value=sent.value.replace(b'"x"', b'"w"')) for sent in played(50, change_at=9)
    ]
    with pytest.raises(BacktestError, match="are refused by pipeline mill"):
        recorded(pipeline, other)


def test_a_lead_is_told_with_its_noise(recording, fits):
    done = _soon(recording, fits)
    policy = report(done)["policies"][0]
    over_frozen = lead(done, done.outcomes[0], "frozen")
    assert over_frozen.by == pytest.approx(policy["frozen"] - policy["loop"])  # of an error
    assert over_frozen.by > 2 * over_frozen.noise > 0
    outcome = done.outcomes[0]
    same = replace(outcome, answers=outcome.baselines["frozen"].answers)
    assert lead(done, same, "frozen") == Lead(0.0, 0.0)
