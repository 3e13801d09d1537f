"""The engine port: the real one and the fake pass one suite; then what only the real one can meet."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from millrace_artifacts.artifact import (
    Model,
    Native,
    NativeFormat,
    Parity,
    read_artifact,
    write_artifact,
)
from millrace_artifacts.keys import SigningKey, TrustedKeys, local_key
from millrace_artifacts.scorer import load_scorer
from millrace_artifacts.seal import Statement, Vault, sealed
from millrace_artifacts.store import ObjectStore
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters import tried as tried_models
from millrace_serving.adapters.engine import ArtifactEngine
from millrace_serving.adapters.tried import Tried
from millrace_serving.domain.answers import answers
from millrace_serving.domain.columns import Columns, Rows


class AwayStore(ObjectStore):
    """A store that is away for what has been marked so."""

    away = False

    def get(self, uri, sha256):
        if self.away:
            raise TransientError("away")
        return super().get(uri, sha256)


class RealHarness:
    def __init__(self, folder, pipeline, artifact, champion) -> None:
        self.store = AwayStore(f"file://{folder}")
        self.key = local_key(folder / "keys")
        self.trusted = folder / "keys" / "trusted"
        keys = TrustedKeys([self.trusted])
        self.vault, self.file = Vault(self.store, keys), folder / "tried-models.txt"
        self.engine = self.restarted()
        self.pipeline, self._artifact, self._champion = pipeline, artifact, champion

    def restarted(self, by: str = "") -> ArtifactEngine:
        """What an instance begins with that has the same disk."""
        return ArtifactEngine(self.vault, Tried(self.file, by))

    def champion(self, version: int, content: bytes | None = None):
        stored = self.store.put(
            f"v{version}.zip", content or self._artifact(self.pipeline, version)
        )
        champion = replace(
            self._champion(version, version), artifact_uri=stored.uri, artifact_sha256=stored.sha256
        )
        return self.signed(champion, self.key)

    def signed(self, champion, key):
        statement = Statement(
            champion.pipeline, champion.pipeline_version, champion.run_id, champion.artifact_sha256
        )
        seal = sealed(statement, key)
        return replace(champion, artifact_signature=seal.signature, signing_key_id=seal.key_id)

    def broken(self, version: int):
        return self.champion(version, b"broken")

    def away(self, version: int):
        champion = self.champion(version)
        self.store.away = True
        return champion


class FakeHarness:
    def __init__(self, world, champion) -> None:
        self.engine, self.pipeline, self._champion = world.engine, world.pipeline, champion

    def champion(self, version: int):
        return self._champion(version, version)

    def broken(self, version: int):
        self.engine.broken.add(version)
        return self.champion(version)

    def away(self, version: int):
        self.engine.away.add(version)
        return self.champion(version)


@pytest.fixture
def real(tmp_path, make_pipeline, make_artifact, make_champion):
    return RealHarness(tmp_path, make_pipeline(), make_artifact, make_champion)


@pytest.fixture(params=["real", "fake"])
def harness(request, real, world, make_champion):
    return real if request.param == "real" else FakeHarness(world, make_champion)


def rows(count: int) -> Rows:
    numbers = np.array([[float(number), np.nan] for number in range(count)]).reshape(count, 2)
    return Rows(Columns(("temp", "hum"), ("weather",)), numbers, [("rain",)] * count)


def test_a_loaded_model_says_what_it_takes_and_answers_each_row(harness):
    model = harness.engine.load(harness.champion(3))

    assert model.signature.columns == Columns.of(harness.pipeline)
    assert (model.signature.kind, model.signature.classes) == (LabelKind.REGRESSION, ())
    assert "_" in model.platform
    first, second, third = answers(LabelKind.REGRESSION, (), model.score(rows(3)))
    assert second.value - first.value == third.value - second.value == 1.0


def test_versions_answer_differently_and_side_by_side(harness):
    three, four = harness.engine.load(harness.champion(3)), harness.engine.load(harness.champion(4))

    assert three.score(rows(1)).values[0] < four.score(rows(1)).values[0]


def test_an_artifact_that_never_loads_is_a_permanent_error(harness):
    with pytest.raises(PermanentError):
        harness.engine.load(harness.broken(3))


def test_a_store_that_is_away_is_a_transient_error(harness):
    with pytest.raises(TransientError):
        harness.engine.load(harness.away(3))


def test_an_object_that_is_missing_is_never_waited_for(real):
    champion = replace(real.champion(1), artifact_uri=f"{real.store.url}/gone.zip")

    with pytest.raises(PermanentError, match=r"gone\.zip does not exist.*OBJECT_STORE_URL"):
        real.engine.load(champion)


def test_another_pipelines_artifact_is_refused(real, make_pipeline, make_artifact):
    champion = real.champion(1, make_artifact(make_pipeline("taxis"), 1))

    with pytest.raises(PermanentError, match="a model of pipeline taxis, not of bikes"):
        real.engine.load(champion)


def test_a_model_that_nobody_trusted_has_signed_is_neither_fetched_nor_read(real, monkeypatch):
    champion = real.signed(real.champion(1), SigningKey.made())
    monkeypatch.setattr("millrace_serving.adapters.engine.read_artifact", pytest.fail)
    monkeypatch.setattr(real.store, "get", pytest.fail)

    with pytest.raises(PermanentError, match="which is not trusted here"):
        real.engine.load(champion)


def test_a_signed_model_of_another_pipeline_cannot_be_swapped_in(real):
    signed = real.champion(1)

    with pytest.raises(PermanentError, match="was changed after signing"):
        real.engine.load(replace(signed, pipeline="taxis"))


def test_a_key_that_is_taken_away_counts_no_more_and_one_that_is_added_counts_at_once(real):
    new = SigningKey.made()
    champion = real.signed(real.champion(1), new)
    with pytest.raises(PermanentError):
        real.engine.load(champion)

    (real.trusted / "new.pem").write_bytes(new.public_pem)
    real.engine.load(champion)

    (real.trusted / "new.pem").unlink()
    with pytest.raises(PermanentError):
        real.engine.load(champion)


def test_a_model_that_answers_through_xgboost_is_tried_apart_before_it_is_opened_here(
    real, make_artifact, monkeypatch
):
    artifact = read_artifact(make_artifact(real.pipeline, 1))
    native = Native(NativeFormat.UBJ, b"{no model")
    model = Model(artifact.signature, Parity(0.5, 1e-4, 10), None, native)
    champion = real.champion(1, write_artifact(replace(artifact, model=model)))
    monkeypatch.setattr("millrace_serving.adapters.engine.load_scorer", pytest.fail)

    with pytest.raises(PermanentError, match="process of its own, the model failed: XGBoostError"):
        real.engine.load(champion)


def test_whatever_a_model_library_raises_is_told_as_a_permanent_error(real, monkeypatch):
    def fail(artifact):
        raise ImportError("no module named xgboost")

    monkeypatch.setattr("millrace_serving.adapters.engine.load_scorer", fail)

    with pytest.raises(PermanentError, match="no module named xgboost"):
        real.engine.load(real.champion(1))


def test_what_a_native_model_takes_grows_with_its_file_too(real, natives):
    (champion, _), _ = natives

    assert real.engine.load(champion).memory == round(10_000 + 1.5 * len(b"ubj"))


def test_what_a_model_takes_grows_with_its_file(real, make_artifact):
    small = real.engine.load(real.champion(1))
    artifact = read_artifact(make_artifact(real.pipeline, 2))
    size = len(artifact.model.onnx)

    assert small.memory == pytest.approx(160_000 + 6.5 * size, abs=10)


@pytest.fixture
def natives(real, make_artifact, monkeypatch):
    """Champions whose models are native, in name; and what has been tried so far."""
    artifact = read_artifact(make_artifact(real.pipeline, 1))
    model = Model(artifact.signature, Parity(0.5, 1e-4, 10), None, Native(NativeFormat.UBJ, b"ubj"))
    onnx, tried = load_scorer(artifact), []
    monkeypatch.setattr("millrace_serving.adapters.engine.try_artifact", tried.append)
    monkeypatch.setattr("millrace_serving.adapters.engine.load_scorer", lambda _: onnx)
    contents = [replace(artifact, model=model, parameters=f'{{"a":{n}}}') for n in (1, 2)]
    champions = [
        real.champion(n, write_artifact(content)) for n, content in enumerate(contents, start=1)
    ]
    return champions, tried


def test_a_native_model_is_tried_once_and_not_again_when_it_comes_back_to_memory(real, natives):
    (champion, other), tried = natives
    for each in (champion, champion, other, champion):
        assert real.engine.load(each).platform == "xgboost_ubj"

    assert len(tried) == 2


def test_a_native_model_is_not_tried_again_after_a_restart(real, natives):
    (champion, other), tried = natives
    real.engine.load(champion)
    for _ in range(2):
        real.restarted().load(champion)
    assert len(tried) == 1

    real.restarted().load(other)
    assert len(tried) == 2


def test_another_library_tries_every_native_model_again(real, natives):
    (champion, _), tried = natives
    real.engine.load(champion)
    real.restarted("1/xgboost-99").load(champion)
    real.restarted("1/xgboost-99").load(champion)
    assert len(tried) == 2
    assert len(real.file.read_text().splitlines()) == 1


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_what_the_disk_has_lost_is_tried_again(real, natives, damage):
    (champion, other), tried = natives
    real.engine.load(champion)
    real.engine.load(other)
    content = real.file.read_bytes()
    real.file.write_bytes({"cut": content[:-2], "garbage": b"\xff" + content, "empty": b""}[damage])
    engine = real.restarted()
    for each in (champion, other, champion, other):
        engine.load(each)
    for each in (champion, other):
        real.restarted().load(each)

    assert len(tried) == 2 + {"cut": 1, "garbage": 1, "empty": 2}[damage]


def test_a_disk_that_takes_nothing_costs_a_trial_and_no_answer(real, natives):
    (champion, _), tried = natives
    real.file.mkdir()
    real.restarted().load(champion)
    real.restarted().load(champion)

    assert len(tried) == 2


def test_the_least_recently_tried_are_forgotten_first(tmp_path, monkeypatch):
    monkeypatch.setattr(tried_models, "_MOST", 2)
    digests = [f"{number:064x}" for number in range(3)]
    file = tmp_path / "new" / "tried.txt"
    for tried in (Tried(file), Tried(None)):
        for digest in digests:
            tried.add(digest)
        assert [digest in tried for digest in digests] == [False, True, True]

    again = Tried(file)
    assert [digest in again for digest in digests] == [False, True, True]
    assert len(file.read_text().splitlines()) == 2


def test_a_model_that_answers_one_row_twice_is_not_loaded(real):
    """ONNX lets a constant of two rows stand in for a missing one."""
    nodes = [
        helper.make_node("IsNaN", ["input"], ["missing"]),
        helper.make_node("Where", ["missing", "two", "input"], ["filled"]),
        helper.make_node("Gemm", ["filled", "weights"], ["answer"]),
    ]
    width = artifact_width(real)
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
        [
            helper.make_tensor("two", TensorProto.FLOAT, [2, 1], [0.0, 0.0]),
            helper.make_tensor("weights", TensorProto.FLOAT, [width, 1], [1.0] * width),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    artifact = read_artifact(real._artifact(real.pipeline, 1))
    twice = replace(artifact.model, onnx=model.SerializeToString())
    content = write_artifact(replace(artifact, model=twice, examples=()))

    with pytest.raises(PermanentError, match="2 answers to one row"):
        real.engine.load(real.champion(1, content))


def artifact_width(real) -> int:
    return read_artifact(real._artifact(real.pipeline, 1)).signature.width
