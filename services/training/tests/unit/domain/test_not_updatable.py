"""Updates that no run could carry out: which champions they are left out for, and what is said of it."""

from dataclasses import replace

import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import UPDATED, Trigger
from millrace_kernel.time import parse_rfc3339
from millrace_training.domain.by_labels import due_by_labels
from millrace_training.domain.events import (
    Cause,
    Champion,
    ModelPromoted,
    ModelRolledBack,
    RetrainRequested,
    RetrainSkipped,
    Skip,
)
from millrace_training.domain.policies import policy_of
from millrace_training.domain.retraining import NO_HISTORY, decide, evolve

MILL = PipelineName("mill")
NOON = parse_rfc3339("2026-03-04T12:00:00Z")
FILE = """
metadata: {name: mill}
spec:
  event: {id: id, time: at}
  fields: {load: float, note: text}
  label: {field: wear, kind: KIND}
  model: {candidates: CANDIDATES, train_on: {last: 10000, first: 100}OPTIONS}
  retraining: {on: ON, cooldown: 0s, budget: {runs_per_day: 1000}}
"""


def a_file(version=1, kind="regression", options="", on="[update, volume]"):
    straight = "linear" if kind == "regression" else "logistic"
    file = FILE.replace("KIND", kind).replace("CANDIDATES", f"[{straight}, xgboost]")
    return read_pipeline(file.replace("OPTIONS", options).replace("ON", on), version=version)


def answering(algorithm, file=1):
    """This kind of model answers, by this version of the file."""
    history = replace(NO_HISTORY, clock=NOON, learnt=2000, updated=2000)
    champion = Champion(ModelVersionNumber(7), 3, file, "uri", "sha", algorithm=algorithm)
    return evolve(history, ModelPromoted(MILL, champion))


def asked(policy, history, trigger, labelled):
    decision = decide(policy, history, Cause(trigger, "id", NOON, trigger, "labels came"), labelled)
    return decision, evolve(history, decision)


def test_what_updates_do_not_go_on_with_is_told_once_for_each_that_is_due():
    policy, history = policy_of(a_file(), []), answering("linear")
    said, full = [], 0
    for labelled in range(2000, 4100, 10):
        due = due_by_labels(policy, history)
        if due is not None and labelled >= due[1]:
            decision, history = asked(policy, history, due[0], labelled)
            if isinstance(decision, RetrainRequested):
                assert decision.run.trigger is Trigger.VOLUME
                full += 1
            else:
                said.append(decision)
    assert full == 1  # full runs go on as ever
    assert [skipped.labelled for skipped in said] == [2400, 2800, 3200, 3600]
    assert {skipped.reason for skipped in said} == {Skip.NOT_UPDATABLE}
    assert "version 7, which answers, is of kind linear" in said[0].detail


@pytest.mark.parametrize("algorithm", ["logistic", "command:own", "sklearn.svm.SVC", "retrieval"])
def test_only_updates_are_left_out(algorithm):
    policy, history = policy_of(a_file(), []), answering(algorithm)
    for trigger in (Trigger.VOLUME, Trigger.COMMAND):
        assert isinstance(asked(policy, history, trigger, 9000)[0], RetrainRequested)
    skipped, after = asked(policy, history, Trigger.UPDATE, 9000)
    assert isinstance(skipped, RetrainSkipped)
    assert after.left_out == 0  # nothing was tried in vain


@pytest.mark.parametrize("algorithm", [*UPDATED, ""])
def test_a_champion_that_is_updated_or_of_which_nothing_is_known_is(algorithm):
    """Of one from before its kind was remembered a run will tell."""
    decision, _ = asked(policy_of(a_file(), []), answering(algorithm), Trigger.UPDATE, 9000)
    assert isinstance(decision, RetrainRequested)


def test_when_another_kind_answers_again_updates_are_asked_for_again():
    policy, history = policy_of(a_file(), []), answering("linear")
    boosted = Champion(ModelVersionNumber(5), 4, 1, "uri", "sha", algorithm="xgboost")
    history = evolve(history, ModelRolledBack(MILL, boosted))
    assert isinstance(asked(policy, history, Trigger.UPDATE, 9000)[0], RetrainRequested)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("binary", ", calibration: platt", "is calibrated"),
        ("regression", ", interval: 0.9", "answers an interval"),
        ("regression", ", text: {encoder: words.onnx}", "reads text by a sentence encoder"),
    ],
)
def test_a_champion_by_a_file_that_asked_for_more_is_not_updated(kind, options, words):
    """The file in force asks for nothing that speaks against updates, but an earlier one did."""
    earlier = a_file(1, kind, options, on="[volume]")
    policy = policy_of(a_file(2, kind), [earlier])
    skipped, _ = asked(policy, answering("xgboost", file=1), Trigger.UPDATE, 9000)
    assert isinstance(skipped, RetrainSkipped)
    assert skipped.reason is Skip.NOT_UPDATABLE
    assert f"version 7, which answers, {words}" in skipped.detail
    decision, _ = asked(policy, answering("xgboost", file=2), Trigger.UPDATE, 9000)
    assert isinstance(decision, RetrainRequested)


def test_quantiles_of_an_earlier_file_are_not_lost_either():
    earlier = replace(a_file(1), model=replace(a_file(1).model, quantiles=(0.1, 0.5, 0.9)))
    policy = policy_of(a_file(2), [earlier])
    skipped, _ = asked(policy, answering("xgboost", file=1), Trigger.UPDATE, 9000)
    assert "answers quantiles, and an update would lose that" in skipped.detail
