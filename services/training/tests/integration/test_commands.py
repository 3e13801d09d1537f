"""A program of the user's own in the service: its model is a candidate, and is made again by a fresh process."""

import asyncio
import json
import subprocess
import sys
import tempfile

import pytest

from millrace_testkit.eventually import eventually, running
from millrace_training.bootstrap import training

pytestmark = pytest.mark.timeout(600)

ASKED = "candidates: ['command:mean']\n    parameters: {'command:mean': {times: 2}}"
# what a program has to do and no more: it is started often, and the libraries of a real one take seconds to import
MEAN = """
import json
import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

job = json.load(open("job.json"))
width = len(job["columns"])
mean = np.float32(pq.read_table("train.parquet")["label"].to_numpy().mean() * job["parameters"]["times"])
nodes = [helper.make_node("MatMul", ["input", "zeros"], ["none"]), helper.make_node("Add", ["none", "mean"], ["answer"])]
graph = helper.make_graph(
    nodes,
    "mean",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
    [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
    [numpy_helper.from_array(np.zeros((width, 1), np.float32), "zeros"), numpy_helper.from_array(mean, "mean")],
)
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
made.ir_version = 8
onnx.save(made, "model.onnx")
"""


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'training.db'}"


@pytest.fixture
def service_with(settings, neighbours, children):
    made = []

    def service_with(**changed):
        given = settings.model_copy(update=changed)
        made.append(training(given, neighbours.broker, chance=lambda: 0.5, children=children))
        return made[-1]

    yield service_with
    for service in made:
        service.database.close()


async def test_an_allowed_program_trains_a_candidate_that_is_made_again_to_the_bit(
    neighbours, service_with, quick, file, settings, tmp_path
):
    script = tmp_path / "mean.py"
    script.write_text(MEAN)
    line = (sys.executable, str(script))
    service = service_with(training_commands={"mean": line}, training_cards=False)
    async with running(*service.components(quick)):
        await neighbours.apply(file.replace("candidates: [linear]", ASKED))
        await neighbours.rows(0, 120)
        [(completed, _)] = await neighbours.hears("TrainingCompleted")
    assert completed.algorithm == "command:mean"
    assert json.loads(completed.parameters_json) == {"times": 2}
    record = json.loads(completed.record_json)
    assert list(record["environment"]["commands"]) == ["mean"]

    async def again(**environment):
        return await asyncio.to_thread(made_again, completed.run_id, settings, environment)

    allowed = {"TRAINING_COMMANDS": json.dumps({"mean": line})}
    done = await again(**allowed)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["equal"]
    assert found["found_sha256"] == completed.artifact_sha256
    assert changed_commands(done) == []

    script.write_text(script.read_text() + "\n# otherwise\n")
    done = await again(**allowed)
    assert done.returncode in (0, 3), done.stderr
    assert changed_commands(done) == ["commands.mean"]


def changed_commands(done) -> list[str]:
    parts = [each["part"] for each in json.loads(done.stdout)["environment"]]
    return [part for part in parts if part.startswith("commands")]


def made_again(run_id, settings, environment):
    return subprocess.run(
        [sys.executable, "-m", "millrace_training.entrypoints.reproduce", "bikes", run_id],
        env={
            "PYTHONPATH": ":".join(sys.path),
            "MILLRACE_HOME": str(settings.millrace_home),
            "TRAINING_DATABASE_URL": settings.training_database_url,
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_program_that_is_not_allowed_fails_the_run_in_words(
    neighbours, service_with, quick, file
):
    async with running(*service_with().components(quick)):
        await neighbours.apply(file.replace("candidates: [linear]", ASKED))
        await neighbours.rows(0, 60)
        [(failed, _)] = await neighbours.hears("TrainingFailed")
    assert "command:mean is no command that this service allows (none)" in failed.reason


async def test_a_run_that_is_cut_off_in_its_program_leaves_no_rows_behind(
    neighbours, service_with, quick, file, tmp_path, monkeypatch
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    service = service_with(
        training_commands={"mean": ("sleep", "600")},
        training_cards=False,
    )
    async with running(*service.components(quick)):
        await neighbours.apply(file.replace("candidates: [linear]", ASKED))
        await neighbours.rows(0, 60)
        await eventually(lambda: files_in(folder, "*.command/train.parquet"), within=60)
    assert files_in(folder, "*") == []


def files_in(folder, pattern):
    return list(folder.glob(pattern))
