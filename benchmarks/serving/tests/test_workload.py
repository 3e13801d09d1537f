"""The model and the requests, the same for all."""

import json

import numpy as np
import pytest
from benchmarks.serving import open_inference
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.environments import NAMES, REQUIREMENTS, pins_of
from benchmarks.serving.settings import Settings
from benchmarks.serving.workload import DEPTH, FEATURES, TREES, make_workload, numbers_in


@pytest.fixture(scope="module")
def workload():
    return make_workload()


def depth_of(node: dict) -> int:
    return 1 + max(map(depth_of, node["children"])) if "children" in node else 0


def test_the_model_is_what_the_figures_say(workload):
    trees = [json.loads(tree) for tree in workload.booster.get_dump(dump_format="json")]

    assert len(trees) == TREES
    assert {depth_of(tree) for tree in trees} == {DEPTH}
    assert workload.rows.shape == (100, FEATURES)
    assert len(set(workload.expected.tolist())) == 100, "an answer tells which row was asked"


def test_it_is_made_from_a_seed(workload):
    again = make_workload()

    assert again.expected.tolist() == workload.expected.tolist()
    assert again.rows.tolist() == workload.rows.tolist()


def test_what_is_sent_is_the_row_that_the_model_was_asked(workload):
    sent = np.array(workload.lists(), dtype=np.float32)

    assert np.array_equal(sent, workload.rows)


def test_every_rest_body_holds_its_row(workload):
    row = workload.lists()[0]
    for contender in CONTENDERS:
        found = numbers_in(json.loads(contender.body(row)))
        assert found[-FEATURES:] == row, contender.name


def test_an_answers_numbers_are_found_wherever_they_stand():
    assert numbers_in({"a": [1, [2.5]], "b": {"c": 3}, "d": True, "e": "4", "f": None}) == [
        1,
        2.5,
        3,
    ]


def test_a_grpc_request_is_what_tritonclient_sends(workload):
    row = workload.rows[0]
    encoded = open_inference.request("collisions", "features", row)

    tensor = b"\x0a\x08features" + b"\x12\x04FP32" + b"\x1a\x02\x01\x1c"
    assert encoded == (
        b"\x0a\x0acollisions"
        + b"\x2a" + bytes([len(tensor)]) + tensor
        + b"\x3a\x70" + row.astype("<f4").tobytes()
    )  # fmt: skip
    assert open_inference.framed(b"abc") == b"\x00\x00\x00\x00\x03abc"


def test_a_grpc_answer_is_read_typed_and_raw():
    name, shape = b"\x0a\x01y", b"\x1a\x01\x01"
    typed = name + b"\x12\x04FP64" + shape + b"\x2a\x0a\x3a\x08" + np.array([2.5], "<f8").tobytes()
    raw = name + b"\x12\x04FP32" + shape
    answer = b"\x2a" + bytes([len(typed)]) + typed
    raw_answer = b"\x2a" + bytes([len(raw)]) + raw + b"\x32\x04" + np.array([1.5], "<f4").tobytes()

    assert open_inference.numbers_of(answer) == [2.5]
    assert open_inference.numbers_of(raw_answer) == [1.5]


@pytest.mark.parametrize("name", NAMES)
def test_the_peers_are_pinned_and_name_no_registry(name):
    for suffix in ("in", "txt"):
        text = (REQUIREMENTS / f"{name}.{suffix}").read_text()
        assert "://" not in text
        assert "--" not in text
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    assert len(pins_of(name)) == len([line for line in lines if line])
    asked = (REQUIREMENTS / f"{name}.in").read_text().split()
    for requirement in asked:
        package = requirement.partition("=")[0].partition(">")[0].partition("[")[0]
        assert package in pins_of(name)


def test_mlserver_is_the_version_that_the_goals_name():
    assert pins_of("mlserver")["mlserver"] == "1.7.1"
    assert pins_of("mlserver")["mlserver-xgboost"] == "1.7.1"


def test_every_contender_has_a_name_of_its_own_and_an_environment_that_exists():
    names = [contender.name for contender in CONTENDERS]

    assert len(set(names)) == len(names)
    assert {one.environment for one in CONTENDERS} - {None} == set(NAMES)


def test_the_folder_of_the_environments_is_a_setting(tmp_path):
    assert Settings.of({}).folder.parts[-2:] == (".millrace", "benchmarks")
    assert Settings.of({"MILLRACE_BENCHMARKS": str(tmp_path)}).folder == tmp_path
