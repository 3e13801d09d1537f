"""Nothing is ever unpickled: a pickle is a program that runs when it is read."""

import ast
import io
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = Path(__file__).parent
SOURCES = sorted(
    path
    for pattern in (
        "libs/*/src/**/*.py",
        "services/*/src/**/*.py",
        "examples/**/*.py",
        "infra/**/*.py",
        "proto/**/*.py",
    )
    for path in ROOT.glob(pattern)
)
FORBIDDEN = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch", "pandas",
}  # fmt: skip
# who may talk to its own children that way: one direction only, see there
MULTIPROCESSING = {
    "services/training/src/millrace_training/adapters/processes/children.py",
    "libs/service/src/millrace_service/fork_server.py",
}
CALLS = {
    "load": {"np", "numpy", "joblib", "pickle"},
    "loads": {"pickle", "marshal", "cloudpickle", "dill"},
}
METHODS = {"read_pickle", "to_pickle"}


def offences(source: str, path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = forbidden_imports([alias.name for alias in names], path)
            case ast.ImportFrom(module=str(module), level=0):
                found = forbidden_imports([module], path)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
                wrong = owner in CALLS.get(name, ()) or name in METHODS
                wrong |= name == "recv" and path in MULTIPROCESSING  # it unpickles what comes
                found = [f"calls {owner}.{name}"] if wrong else []
            case ast.keyword(arg="allow_pickle", value=value):
                safe = isinstance(value, ast.Constant) and value.value is False
                found = [] if safe else ["allows pickles"]
            case _:
                continue
        yield from (f"{path}: {offence}" for offence in found)


def forbidden_imports(modules: list[str], path: str) -> list[str]:
    tops = {module: module.split(".")[0] for module in modules}
    return [
        f"imports {module}"
        for module, top in tops.items()
        if top in FORBIDDEN or (top == "multiprocessing" and path not in MULTIPROCESSING)
    ]


def test_the_source_names_nothing_that_unpickles():
    assert len(SOURCES) > 100

    found = [
        offence
        for path in SOURCES
        for offence in offences(path.read_text(), str(path.relative_to(ROOT)))
    ]

    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "def f():\n    import dill",
        "from multiprocessing import Queue",
        "np.load(path)",
        "open_it(path, allow_pickle=True)",
        "open_it(path, allow_pickle=choice)",
        "connection.recv()",
        "pd.read_pickle(path)",
    ],
)
def test_the_check_of_the_source_can_fail(source):
    child = min(MULTIPROCESSING)
    assert list(offences(source, child if "connection" in source else "somewhere.py"))


def poisoned(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{PLUGIN}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


LOADERS = {  # a process each: to start one takes as long as what it then does
    "artifacts, ONNX, XGBoost, skops": [
        "libs/artifacts/tests/test_artifact.py",
        "libs/artifacts/tests/test_native.py",
        "libs/artifacts/tests/test_scorer.py",
        "libs/artifacts/tests/test_seal.py",
    ],
    "serving, the registry's state": [
        "services/serving/tests/integration/test_engine.py",
        "services/registry/tests/integration/test_views.py",
    ],
    "training's lake, datasets, staged rows, state, champion and child process": [
        "services/training/tests/unit/adapters/lake/test_lake.py",
        "services/training/tests/unit/adapters/sql/test_books.py",
        "services/training/tests/unit/adapters/fitting/reading/test_rows.py",
        "services/training/tests/unit/adapters/fitting/test_procedure.py::test_a_champion_of_fewer_columns_is_compared_and_one_of_others_is_not",
        "services/training/tests/integration/test_training_service.py::"
        "test_a_drift_leads_to_a_run_in_the_drifts_own_trace_compared_with_the_champion",
    ],
}  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_works_where_unpickling_is_impossible(loader, tmp_path):
    """Their own tests, on their own real files, with every way to unpickle poisoned before anything is imported."""
    done = poisoned(
        "-m", "pytest", "-p", "poisoned", "-p", "no:cacheprovider", "-q", "--timeout", "500",
        f"--basetemp={tmp_path}", *LOADERS[loader],
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def harmful(kind: str, path: Path) -> str:
    """Write what would be unpickled; how to read it."""
    match kind:
        case "pickle":
            path.write_bytes(pickle.dumps(OrderedDict(a=1)))
            return "import pickle; pickle.load(open(path, 'rb'))"
        case "an unpickler kept from before":
            path.write_bytes(pickle.dumps(OrderedDict(a=1)))
            return "kept(open(path, 'rb')).load()"
        case "numpy":
            content = io.BytesIO()
            np.save(content, np.array([{}, None]))
            path.write_bytes(content.getvalue())
            return "import numpy; numpy.load(path, allow_pickle=True)"
        case _:
            joblib.dump({"a": 1}, path)
            return "import joblib; joblib.load(path)"


@pytest.mark.parametrize("kind", ["pickle", "an unpickler kept from before", "numpy", "joblib"])
def test_the_poison_works(kind, tmp_path):
    path = tmp_path / "harm"
    reading = harmful(kind, path)
    program = f"from pickle import Unpickler as kept; path = {str(path)!r}\n"
    done = poisoned("-c", f"{program}import poisoned\n{reading}\n")

    assert done.returncode != 0
    assert "something was unpickled" in done.stderr
