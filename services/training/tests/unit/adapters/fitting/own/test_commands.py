"""Programs of the user's own as kinds of model: what they are given, what is taken from them, what becomes of the rest."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitError, FitJob, NoCandidateError
from millrace_training.adapters.fitting.options import Commands, Options
from millrace_training.adapters.fitting.own import programs

EXAMPLE = Path(__file__).parents[7] / "examples/commands/extra_trees.py"
OWN = "command:own"
HOUR_US = 3_600_000_000
LINE = """
import json
import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

job = json.load(open("job.json"))
rows = pq.read_table("train.parquet")
matrix = np.column_stack([rows[each["column"]].to_numpy() for each in job["columns"]])
matrix = np.nan_to_num(matrix).astype(np.float64)
width = matrix.shape[1]
weight = np.sqrt(rows["weight"].to_numpy())[:, None]
known = np.hstack([matrix, np.ones((len(matrix), 1))]) * weight
factors = np.linalg.lstsq(known, rows["label"].to_numpy()[:, None] * weight, rcond=1e-9)[0]


def saved(nodes, answer, constants, width=width, opset=15, kind=TensorProto.FLOAT, rows=None):
    graph = helper.make_graph(
        nodes,
        "whatever",
        [helper.make_tensor_value_info("input", kind, [rows, width])],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    onnx.save(made, "model.onnx")


def straight(**more):
    node = helper.make_node
    saved(
        [
            node("IsNaN", ["input"], ["gone"]),
            node("Where", ["gone", "zero", "input"], ["there"]),
            node("MatMul", ["there", "factors"], ["product"]),
            node("Add", ["product", "offset"], ["answer"]),
        ],
        "answer",
        {"zero": 0.0, "factors": factors[:-1], "offset": factors[-1]},
        **more,
    )
"""


@pytest.fixture
def a_job(tmp_path):
    """Of a fit by a script; `lines` of it, or the file."""

    def build(script="straight()", kind=LabelKind.REGRESSION, seconds=60.0, **changes) -> FitJob:
        file = script
        if not isinstance(script, Path):
            file = tmp_path / "own.py"
            file.write_text(LINE + script)
        commands = Commands({"own": (sys.executable, str(file))}, seconds, tmp_path / "work")
        options = Options(commands=commands, parameters={OWN: {"trees": 8, "name": "é"}})
        columns = (("temp", "hum"), ("weather",))
        fields = {"options": options, "seed": 5, "refit": False} | changes
        return FitJob(
            "bikes", 3, kind, *columns, (OWN,), rows_of(tmp_path, kind), 200, 40, **fields
        )

    return build


def rows_of(folder, kind) -> Path:
    random = np.random.default_rng(11)
    count = 260
    numbers = random.normal(size=(count, 2))
    weather = random.choice(["clear", "fog", "rain"], count)
    hired = 10 * numbers[:, 0] - 5 * numbers[:, 1] + 3 * (weather == "clear")
    numbers[random.random((count, 2)) < 0.02] = np.nan
    labels = {
        LabelKind.REGRESSION: hired,
        LabelKind.BINARY: (hired > 0) * 1.0,
        LabelKind.MULTICLASS: np.array(["few", "some", "many"])[np.digitize(hired, [-4.0, 4.0])],
    }
    table = {
        "event_id": [f"event-{number}" for number in range(count)],
        "event_time_us": pa.array(np.arange(count) * HOUR_US),
        "numbers": pa.array(numbers.tolist()),
        "categories": pa.array([[each] for each in weather]),
        "label": pa.array(labels[kind].tolist()),
    }
    path = folder / f"{kind}.parquet"
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("kind", [each for each in LabelKind if each is not LabelKind.TEXT])
def test_a_real_program_makes_a_model_like_any_other(a_job, kind):
    changes = {"calibration": "platt"} if kind is LabelKind.MULTICLASS else {}
    job = a_job(EXAMPLE, kind)
    job = replace(job, options=replace(job.options, **changes))
    result = fit_candidates(job)
    primary = "mae" if kind is LabelKind.REGRESSION else "log_loss"
    assert result.metrics[primary] < 0.7 * result.baseline_metrics[primary]
    artifact = read_artifact(result.artifact)
    assert (artifact.algorithm, artifact.model.native) == (OWN, None)
    assert artifact.model.parity.holds
    assert json.loads(artifact.parameters) == {"trees": 8, "name": "é"}
    scores = load_scorer(artifact).score(np.array([[1.5, -1.5]]), [("clear",)])
    if kind is LabelKind.MULTICLASS:
        assert artifact.signature.classes[int(scores.values[0])] == "many"
    else:
        assert scores.values[0] > (10.0 if kind is LabelKind.REGRESSION else 0.8)
    assert list(result.environment.commands) == ["own"]
    assert not job.options.commands.folder.exists()


def test_its_winner_makes_the_same_bytes_again_and_random_names_do_not_count(a_job):
    named = """
import uuid
straight()
model = onnx.load("model.onnx")
model.graph.name = model.doc_string = model.producer_name = uuid.uuid4().hex
model.graph.node[0].doc_string = uuid.uuid4().hex
onnx.save(model, "model.onnx")
"""
    job = a_job(named, refit=True)
    first = fit_candidates(job)
    again = fit_candidates(replace(job, winner=first.winner))
    assert again.artifact == first.artifact
    assert again.environment.commands == first.environment.commands
    other = fit_candidates(a_job(named + "\n# changed", refit=True))
    assert other.artifact == first.artifact
    assert other.environment.commands != first.environment.commands


def test_what_it_is_given_is_what_the_page_says(a_job, tmp_path):
    told = """
import os, shutil, time
while time.process_time() < 2.0:
    pass
shutil.copy("job.json", os.path.join(os.path.dirname(__file__), "seen.json"))
shutil.copy("train.parquet", os.path.join(os.path.dirname(__file__), "seen.parquet"))
straight()
"""
    assert fit_candidates(a_job(told, threads=2)).cpu_seconds >= 2.0
    job = json.loads((tmp_path / "seen.json").read_text())
    indicators = [
        {"column": f"c{2 + place}", "name": "weather", "kind": "indicator", "value": value}
        for place, value in enumerate(("clear", "fog", "rain"))
    ]
    assert job == {
        "format": 1,
        "label": "regression",
        "classes": 0,
        "rows": 200,
        "columns": [
            {"column": "c0", "name": "temp", "kind": "number"},
            {"column": "c1", "name": "hum", "kind": "number"},
            *indicators,
        ],
        "parameters": {"trees": 8, "name": "é"},
        "seed": 5,
        "threads": 2,
    }
    rows = pq.read_table(tmp_path / "seen.parquet")
    assert rows.column_names == ["c0", "c1", "c2", "c3", "c4", "label", "weight"]
    assert rows.schema.field("c0").type == pa.float32()
    assert np.isnan(rows["c0"].to_numpy()).any()
    assert set(rows["weight"].to_numpy()) == {1.0}


def test_nothing_of_the_environment_is_passed_on(a_job, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    told = """
import os
with open(os.path.join(os.path.dirname(__file__), "seen"), "w") as seen:
    handles = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
    opened = [os.readlink(each) for each in handles if os.path.exists(each)]
    json.dump([dict(os.environ), os.getcwd(), opened], seen)
straight()
"""
    with (tmp_path / "open").open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        fit_candidates(a_job(told))
    environment, folder, opened_there = json.loads((tmp_path / "seen").read_text())
    assert environment.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own doing
    assert set(environment) == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "PYTHONHASHSEED",
        "PYTHONDONTWRITEBYTECODE",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
    }
    assert environment["HOME"] == folder == str(tmp_path / "work")
    assert "/dev/null" in opened_there
    assert str(tmp_path / "open") not in opened_there


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise ValueError('\\x1b[31mno luck')", r"ended with code 1; it said last: .*no luck$"),
        ("import os; os.kill(os.getpid(), 9)", r"was killed by signal 9 \(SIGKILL\)"),
        ("pass", "ended with code 0, but left no model.onnx: No such file"),
        ("open('model.onnx', 'wb').write(b'garbage ' * 99)", "can't be used: not an ONNX model"),
        ("open('model.onnx', 'wb').close()", "can't be used: "),
        (
            "import os; os.symlink('/etc/passwd', 'model.onnx')",
            "left no model.onnx: Too many levels",
        ),
        ("import os; os.mkfifo('model.onnx')", "no plain file"),
        ("open('model.onnx', 'wb').truncate(1 << 27)", "of 134,217,728 bytes; at most"),
        (
            "saved([helper.make_node('Identity', ['input'], ['answer'])], 'answer', {}, width=3)",
            "does not eat one matrix of 5 columns",
        ),
        ("straight(rows=7)", "can't answer float32"),
        ("straight(kind=TensorProto.DOUBLE)", "refuses the model|can't answer float32"),
        ("straight(opset=12)", "export it with opset 13 or later"),
        ("factors = factors * np.nan\nstraight()", "with what is no number"),
        ("factors = np.hstack([factors, factors])\nstraight()", r"is \[200, 2\], not \[200, 1\]"),
        (
            "saved([helper.make_node('Erf', ['input'], ['answer'])], 'answer', {})",
            "it has the operator 'Erf'",
        ),
        (
            "body = helper.make_graph([], 'b', [], [])\n"
            "saved([helper.make_node('Loop', ['', ''], ['answer'], body=body)], 'answer', {})",
            "it has the operator 'Loop'|holds a tensor, a graph",
        ),
    ],
)
def test_what_does_not_become_a_model_fails_the_fit_in_words(a_job, script, reason):
    job = a_job(script)
    with pytest.raises(FitError, match=reason) as failure:
        fit_candidates(job)
    assert OWN in str(failure.value)
    assert str(failure.value).isprintable()
    assert not job.options.commands.folder.exists()


def test_probabilities_that_are_none_are_refused(a_job):
    with pytest.raises(FitError, match=r"is \[200, 1\], not \[200, 2\]"):
        fit_candidates(a_job("straight()", LabelKind.BINARY))
    both = "factors = np.hstack([1 - factors, 2 * factors])\nstraight()"
    with pytest.raises(FitError, match="no probabilities that sum to 1"):
        fit_candidates(a_job(both, LabelKind.BINARY))


def test_what_it_says_is_bounded(a_job):
    chatty = "import sys\nprint('x' * 3_000_000, 'the end', file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(FitError, match=r"ended with code 3; it said last: …x+ the end$") as failure:
        fit_candidates(a_job(chatty))
    assert len(str(failure.value)) < 800


def test_one_that_hangs_is_ended_with_all_that_it_started(a_job, tmp_path, monkeypatch):
    class Impatient(subprocess.Popen):
        """Its time is over when all that it starts is there."""

        def wait(self, timeout=None):
            while timeout is not None:
                if (tmp_path / "pids").exists():
                    raise subprocess.TimeoutExpired(self.args, timeout)
                time.sleep(0.01)
            return super().wait()

    hanging = f"""
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
left = [sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"]
pids = [subprocess.Popen(left).pid, subprocess.Popen(left).pid, os.getpid()]
print("still at it", file=sys.stderr, flush=True)
with open("pids", "w") as told:
    json.dump(pids, told)
os.rename("pids", {str(tmp_path / "pids")!r})
time.sleep(600)
"""
    script = tmp_path / "hanging.py"
    script.write_text(hanging)
    monkeypatch.setattr(programs.subprocess, "Popen", Impatient)
    with pytest.raises(FitError, match=r"took longer than 3 s and was stopped.*still at it"):
        fit_candidates(a_job(script, seconds=3.0))
    assert_gone(tmp_path)


def test_what_it_leaves_behind_ends_with_it(a_job, tmp_path):
    leaving = f"""
import os, subprocess, sys
orphan = "import os, time; os.setsid(); (os.fork() and os._exit(0)); open({str(tmp_path / "pids")!r}, 'w')"
orphan += ".write(f'[{{os.getpid()}}]'); time.sleep(600)"
subprocess.run([sys.executable, "-c", orphan], stderr=subprocess.DEVNULL)
while not os.path.exists({str(tmp_path / "pids")!r}):
    pass
straight()
"""
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    fit_candidates(a_job(leaving))
    assert_gone(tmp_path)
    assert {each.pid for each in psutil.Process().children(recursive=True)} <= before


def assert_gone(folder):
    pids = json.loads((folder / "pids").read_text())
    assert pids
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": Options()}, r"no command that this service allows \(none\)"),
        ({"options": Options(commands=Commands({"b": ("/x",)}))}, r"allows \(b\); add it"),
        ({"options": Options(commands=Commands({"own": ("/no/such",)}))}, "can't be started: "),
    ],
)
def test_only_what_is_allowed_is_run(a_job, changes, reason):
    with pytest.raises((FitError, NoCandidateError), match=reason):
        fit_candidates(a_job(**changes))


def test_a_program_is_looked_for_in_plain_places_only(monkeypatch, tmp_path):
    (tmp_path / "sh").write_text("#!/bin/sh\n")
    (tmp_path / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.program_of(("sh",)) == "/usr/bin/sh"
