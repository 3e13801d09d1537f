"""Whatever is inside of a signed artifact: it is refused, or it answers. `fuzz_models.py` does the same for as long as one likes."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from millrace_artifacts.artifact import (
    Learnt,
    Model,
    Native,
    NativeFormat,
    Parity,
    read_artifact,
    write_artifact,
)
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.inspection import inspect_onnx
from millrace_artifacts.scorer import onnx_run
from millrace_artifacts.trial import try_artifact

SCRIPT = Path(__file__).with_name("fuzz_models.py")
specification = importlib.util.spec_from_file_location("fuzz_models", SCRIPT)
fuzz = importlib.util.module_from_spec(specification)
specification.loader.exec_module(fuzz)


def test_what_is_damaged_inside_is_refused_or_answers():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--cases", "200", "--seed", "4"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "'answered'" in done.stdout
    assert "'refused'" in done.stdout


def test_the_fuzzing_can_find_something(monkeypatch):
    monkeypatch.setattr(fuzz, "load", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(fuzz, "BATCH", 2)

    assert len(fuzz.findings(0, range(2))) == 2


def refused(change):
    """A model that training could have made, changed; why it is refused."""
    model = onnx.load_from_string(fuzz.trees())
    change(model, {each.name: each for each in model.graph.node[0].attribute})
    with pytest.raises(UnreadableArtifactError) as refusal:
        onnx_run(model.SerializeToString(), fuzz.WIDTH)
    return str(refusal.value)


@pytest.mark.parametrize("child", [0, 1, -1, 7, 2**31 - 1, -(2**63), 2**63 - 1])
def test_trees_that_lead_anywhere_but_down_are_refused(child):
    """Each of the first two would keep ONNX Runtime busy for ever."""

    def lead(_, attributes):
        attributes["nodes_truenodeids"].ints[1] = child

    assert "lead back or out of themselves" in refused(lead)


def test_a_model_without_an_answer_is_refused():
    """Found by fuzzing."""
    assert "gives no answer" in refused(lambda model, _: model.graph.ClearField("output"))


def test_branches_that_meet_again_are_refused():
    def meet(_, attributes):
        attributes["nodes_truenodeids"].ints[0] = 4

    assert "meet again" in refused(meet)


@pytest.mark.parametrize(
    ("attribute", "place", "value", "words"),
    [
        ("nodes_featureids", 1, 3, "columns beyond the 3"),
        ("nodes_featureids", 1, -1, "columns beyond the 3"),
        ("nodes_nodeids", 3, 4, "not numbered in order"),
        ("nodes_treeids", 3, 2, "not numbered in order"),
        ("target_nodeids", 0, 9, "nodes that there are not"),
        ("target_nodeids", 0, 0, "no leaves"),
        ("target_treeids", 0, 9, "nodes that there are not"),
    ],
)
def test_trees_that_name_what_there_is_not_are_refused(attribute, place, value, words):
    def name(_, attributes):
        attributes[attribute].ints[place] = value

    assert words in refused(name)


def test_a_list_that_comes_twice_or_under_a_late_name_is_refused():
    def twice(model, attributes):
        model.graph.node[0].attribute.append(attributes["nodes_truenodeids"])

    assert "twice" in refused(twice)
    content = fuzz.trees()
    name = b"\n\x11nodes_truenodeids"
    at = content.index(name)
    assert content[at - 2 : at - 1] == b"*"  # an attribute, and its length in one byte
    late = bytearray(content)
    late[at : at + len(name)] = b"\n\x11nodes_truenodeid_"
    with pytest.raises(UnreadableArtifactError, match="same lengths"):
        inspect_onnx(bytes(late), fuzz.WIDTH)


def test_a_tensor_in_another_file_is_refused():
    model = onnx.load_from_string(fuzz.linear())
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("float_data")

    with pytest.raises(UnreadableArtifactError, match="in another file"):
        onnx_run(model.SerializeToString(), fuzz.WIDTH)


def test_loops_subgraphs_functions_and_other_domains_are_refused():
    body = helper.make_graph([], "body", [], [])

    def loop(model, _):
        model.graph.node.append(helper.make_node("Loop", ["input"], ["other"], body=body))

    def graph_in_a_listed_operator(model, _):
        model.graph.node.append(helper.make_node("Gemm", ["input"], ["other"], body=body))

    def foreign(model, _):
        model.graph.node[0].domain = "com.microsoft"

    def opset(model, _):
        model.opset_import.add(domain="evil", version=1)

    def function(model, _):
        model.functions.add(name="TreeEnsembleRegressor", domain="ai.onnx.ml")

    def many(model, _):
        model.graph.node.extend([model.graph.node[0]] * 100)

    assert "graph or a type" in refused(loop)
    assert "graph or a type" in refused(graph_in_a_listed_operator)
    assert "com.microsoft" in refused(foreign)
    assert "evil" in refused(opset)
    assert "functions" in refused(function)
    assert "nodes" in refused(many)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_onnx_model_are_refused(content):
    with pytest.raises(UnreadableArtifactError):
        inspect_onnx(content, 3)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_artifact_is_refused_or_says_the_same(an_artifact, seed):
    artifact = an_artifact()
    damaged = fuzz.damaged_bytes(write_artifact(artifact), fuzz.np.random.default_rng(seed))
    with contextlib.suppress(UnreadableArtifactError):
        assert read_artifact(damaged) == artifact


@pytest.fixture(scope="module")
def booster():
    xgboost = pytest.importorskip("xgboost")
    random = fuzz.np.random.default_rng(7)
    rows = random.normal(size=(200, 3)).astype("float32")
    data = xgboost.QuantileDMatrix(rows, rows.sum(axis=1), nthread=1)
    return xgboost.train({"nthread": 1, "max_depth": 3}, data, 4)


def native(an_artifact, content):
    whole = an_artifact(measured=None, examples=(), learnt=Learnt(100, 1, 2, 20, 1))
    model = Model(
        whole.model.signature, Parity(0.5, 1e-4, 10), None, Native(NativeFormat.UBJ, content)
    )
    return write_artifact(replace(whole, model=model))


def test_a_model_that_answers_through_xgboost_is_tried_apart(an_artifact, booster):
    try_artifact(native(an_artifact, bytes(booster.save_raw("ubj"))))


def test_an_xgboost_model_whose_tree_leads_back_is_refused(an_artifact, booster):
    xgboost = pytest.importorskip("xgboost")
    told = fuzz_json(booster, lambda tree: tree["left_children"].__setitem__(1, 0))
    mad = xgboost.Booster(model_file=bytearray(told))

    with pytest.raises(UnreadableArtifactError, match=r"leads back|ended it"):
        try_artifact(native(an_artifact, bytes(mad.save_raw("ubj"))))


def fuzz_json(booster, change):
    import json

    model = json.loads(booster.save_raw("json"))
    change(model["learner"]["gradient_booster"]["model"]["trees"][0])
    return json.dumps(model).encode()


def test_a_model_that_ends_its_process_is_refused_and_ours_goes_on(an_artifact, monkeypatch):
    monkeypatch.setattr("millrace_artifacts.trial.__name__", "millrace_artifacts.no_such_module")

    with pytest.raises(UnreadableArtifactError, match="ended it with code 1"):
        try_artifact(b"")
