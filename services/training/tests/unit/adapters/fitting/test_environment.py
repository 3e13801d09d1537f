"""What a model's bytes depend on is recorded: no library and no source of it is left out."""

import ast
import platform
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

import pytest
from threadpoolctl import threadpool_info

from millrace_training.adapters.fitting import environment as module
from millrace_training.adapters.fitting.environment import environment

# What the fitting code imports and no byte of a model comes from.
KEEPS_AND_SIGNS = {"obstore", "cryptography"}
TYPES_ONLY = {"typing-extensions"}
ON_A_CLUSTER = {"dask", "distributed"}  # the machines agree on them: `cluster/agreement.py`


def anew():
    """Of this process as it is now: it is found once otherwise."""
    return environment.__wrapped__()


def test_every_library_that_the_fitting_code_imports_is_named_with_its_version():
    by_module = packages_distributions()
    imported = {
        each.replace("_", "-")
        for name in third_party(source for _, source in module._sources())
        for each in by_module[name]
    }

    named = anew().libraries

    assert imported - KEEPS_AND_SIGNS - TYPES_ONLY - ON_A_CLUSTER <= named.keys()
    assert named == {name: version(name) for name in named}
    assert {"xgboost-cpu", "scikit-learn", "numpy", "scipy", "river", "optuna"} <= named.keys()


def third_party(sources) -> set[str]:
    """The modules outside of the standard library and Millrace that are imported anywhere, in functions too."""
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
    tops = {name.partition(".")[0] for name in found}
    return {top for top in tops - sys.stdlib_module_names if not top.startswith("millrace")}


def test_a_library_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "_LIBRARIES", ("numpy", "no-such-thing"))

    assert anew().libraries == {"numpy": version("numpy")}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two folders of distributions, and nothing else."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder, name in zip(folders, ("a-1.0", "b-2.0"), strict=True):
        (folder / f"{name}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", ["", *map(str, folders)])
    return folders


def test_what_is_installed_is_locked_by_name_and_version(installed):
    as_it_was = anew().locked
    newer = (installed[0] / "a-1.0.dist-info").rename(installed[0] / "a-1.1.dist-info")
    upgraded = anew().locked
    newer.rename(installed[0] / "a-1.0.dist-info")
    (installed[0] / "c-3.0.dist-info").mkdir()

    assert len({as_it_was, upgraded, anew().locked}) == 3


def test_where_and_how_often_it_is_installed_locks_nothing(installed, monkeypatch):
    as_it_was = anew().locked
    (installed[0] / "b-2.0.dist-info").mkdir()
    (installed[1] / "whatever").mkdir()

    monkeypatch.setattr(sys, "path", sys.path[::-1])

    assert anew().locked == as_it_was


def test_the_code_is_that_of_fitting_of_artifacts_and_of_the_kernel():
    packages = {name.partition("/")[0] for name, _ in module._sources()}
    names = {name for name, _ in module._sources()}

    assert packages == {
        "millrace_kernel",
        "millrace_artifacts",
        "millrace_training.adapters.fitting",
    }
    assert "millrace_training.adapters.fitting/cluster/agreement.py" in names
    assert "millrace_training.adapters.fitting/environment.py" in names


def package(folder: Path, sources: dict[str, str | None]) -> ModuleType:
    made = ModuleType("fitting")
    made.__path__ = [str(folder)]
    for name, text in sources.items():
        if text is None:
            continue
        source = folder / f"{name.replace('__', '/')}.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
    return made


def test_the_code_is_the_same_in_another_folder_and_another_one_with_any_letter(
    tmp_path, monkeypatch
):
    sources = {"a": "x = 1", "deeper__b": "y = 2"}
    folders = iter(range(9))

    def code(**changed: str | None) -> str:
        made = package(tmp_path / str(next(folders)), sources | changed)
        monkeypatch.setattr(module, "_CODE", (made,))
        return anew().code

    assert code() == code()
    others = [
        code(a="x = 2"),
        code(deeper__b="y = 1"),
        code(c=""),
        code(a="y = 2", deeper__b="x = 1"),
        code(a=None, another="x = 1"),
    ]
    assert len({code(), *others}) == 6


def test_the_machine_is_named_as_far_as_its_arithmetic_may_differ():
    found = anew()

    assert found.python == f"{platform.python_implementation()} {platform.python_version()}"
    assert found.machine == platform.machine()
    assert found.platform.startswith(platform.system())
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools, "numpy has one"
    for pool in pools:
        assert pool["internal_api"] in found.arithmetic
        assert pool["architecture"] in found.arithmetic


def test_it_is_found_once():
    assert environment() is environment()
