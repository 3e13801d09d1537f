import contextlib
import io
import json
import os
import zipfile
from itertools import count

import numpy as np
import pytest
import skops
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.native import TRUSTED_TYPES, dump_sklearn, load_sklearn


def fitted(kind):
    random = np.random.default_rng(5)
    rows = random.normal(size=(80, 3))
    if kind == "linear":
        steps = make_pipeline(SimpleImputer(), StandardScaler(), Ridge())
        return steps.fit(rows, rows[:, 0]), rows
    forest = RandomForestClassifier(3, random_state=1)
    return make_pipeline(SimpleImputer(), forest).fit(rows, rows[:, 0] > 0), rows


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_a_model_is_opened_as_it_was_kept(kind):
    model, rows = fitted(kind)
    again = load_sklearn(dump_sklearn(model))
    assert np.array_equal(again.predict(rows), model.predict(rows))


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_equal_models_are_equal_bytes(kind):
    assert dump_sklearn(fitted(kind)[0]) == dump_sklearn(fitted(kind)[0])


def test_a_type_that_is_not_on_the_list_is_refused():
    content = skops.io.dumps(FunctionTransformer(func=np.save))
    untrusted = skops.io.get_untrusted_types(data=content)
    if not untrusted:
        content = content.replace(b"numpy", b"nvmpy")
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(content)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK"])
def test_what_is_no_skops_file_is_refused(content):
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(content)


def test_a_zip_without_a_schema_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(UnreadableArtifactError):
        load_sklearn(target.getvalue())


IDS = count(1_000_000)


def schema_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read("schema.json"))


def file_of(schema):
    """A skops file with this schema, and no others."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return target.getvalue()


def node(loader, module, name, content=None, **others):
    """One object, as skops writes it."""
    return {
        "__class__": name,
        "__module__": module,
        "__loader__": loader,
        "__id__": next(IDS),
        "content": content,
        **others,
    }


def tuple_of(*items):
    return node("TupleNode", "builtins", "tuple", list(items))


def text(value):
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value), "is_json": True}  # fmt: skip


COMMAND = "touch {mark}"
SYSTEM = node("FunctionNode", "os", "system", {"module_path": "os", "function": "system"})
DICT = node("DictNode", "builtins", "dict", {}, key_types=node("ListNode", "builtins", "list", []))
ATTACKS = {
    "a function": SYSTEM,
    "a partial": node(
        "PartialNode",
        "functools",
        "partial",
        {"func": SYSTEM, "args": tuple_of(text(COMMAND)), "kwds": DICT, "namespace": DICT},
    ),
    "an operator that calls (CVE-2025-54412)": node(
        "OperatorFuncNode", "operator", "methodcaller", attrs=tuple_of(text("system"), text(COMMAND))
    ),
    "an operator under a trusted name (CVE-2025-54412)": node(
        "OperatorFuncNode", "numpy", "dtype", attrs=tuple_of(text("system"))
    ),
    "a method (CVE-2025-54413)": node(
        "MethodNode", "builtins", "function", {"func": "system", "obj": node("TypeNode", "os", "_Environ")}
    ),
    "a method under a trusted name (CVE-2025-54413)": node(
        "MethodNode", "sklearn.linear_model._ridge", "Ridge", {"func": "system", "obj": SYSTEM}
    ),
    "what a constructor makes": node(
        "ConstructorFromReduceNode", "subprocess", "Popen", tuple_of(text(COMMAND))
    ),
    "what reduce makes of a trusted type": node(
        "ReduceNode", "os", "system", reduce={"args": tuple_of(text(COMMAND))}
    ),
    "an object of a type that is not listed": node("ObjectNode", "subprocess", "Popen", DICT),
    "a type": node("TypeNode", "subprocess", "Popen"),
    "numpy's scalar of objects": node(
        "ReduceNode", "numpy.core.multiarray", "scalar", reduce={"args": tuple_of(text("O"))}
    ),
    "an unknown loader": node("ExecNode", "os", "system"),
    "a loader's own list of what to trust (CVE-2025-54886)": node(
        "ObjectNode", "subprocess", "Popen", DICT, trusted=["subprocess.Popen"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["alone", "in a list", "in a model"])
def test_a_file_that_names_another_type_is_refused_and_makes_nothing(
    attack, place, tmp_path, monkeypatch
):
    mark = tmp_path / "harmed"
    monkeypatch.setattr(os, "system", lambda _: mark.touch())
    evil = json.loads(json.dumps(ATTACKS[attack]).replace("{mark}", str(mark)))
    version = {"protocol": 2, "_skops_version": skops.__version__}
    if place == "alone":
        schema = evil | version
    elif place == "in a list":
        schema = node("ListNode", "builtins", "list", [evil]) | version
    else:
        schema = schema_of(dump_sklearn(StandardScaler()))
        schema["content"]["content"]["copy"] = evil

    with pytest.raises(UnreadableArtifactError):
        load_sklearn(file_of(schema))

    assert not mark.exists()


def test_a_functions_own_name_is_what_is_looked_at_and_what_is_made():
    lie = node("FunctionNode", "numpy", "dtype", {"module_path": "os", "function": "system"})
    version = {"protocol": 2, "_skops_version": skops.__version__}

    assert load_sklearn(file_of(lie | version)) is np.dtype


def test_an_array_of_objects_which_would_be_a_pickle_is_refused():
    array = io.BytesIO()
    np.save(array, np.array([{}, None], dtype=object), allow_pickle=True)
    content = dump_sklearn(fitted("linear")[0])
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(target, "w") as archive,
    ):
        for name in source.namelist():
            data = array.getvalue() if name.endswith(".npy") else source.read(name)
            archive.writestr(name, data)

    with pytest.raises(UnreadableArtifactError):
        load_sklearn(target.getvalue())


def test_what_is_trusted_is_fixed_here_and_is_data():
    assert TRUSTED_TYPES == ("numpy.dtype", "sklearn.tree._tree.Tree")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_opened(data):
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableArtifactError):
        load_sklearn(bytes(content))


SMALL = dump_sklearn(fitted("linear")[0])
