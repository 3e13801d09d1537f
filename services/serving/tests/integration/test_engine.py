"""The engine port: the real one and the fake pass one suite; then what only the real one can meet."""

from dataclasses import replace

import numpy as np
import pytest

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
from millrace_serving.adapters.engine import ArtifactEngine
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
        self.engine = ArtifactEngine(Vault(self.store, keys))
        self.pipeline, self._artifact, self._champion = pipeline, artifact, champion

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


def test_what_a_model_takes_grows_with_its_file(real, make_artifact):
    small = real.engine.load(real.champion(1))
    artifact = read_artifact(make_artifact(real.pipeline, 2))
    size = len(artifact.model.onnx)

    assert small.memory == pytest.approx(160_000 + 6.5 * size, abs=10)


def test_a_native_model_is_tried_once_and_not_again_when_it_comes_back_to_memory(
    real, make_artifact, monkeypatch
):
    artifact = read_artifact(make_artifact(real.pipeline, 1))
    model = Model(artifact.signature, Parity(0.5, 1e-4, 10), None, Native(NativeFormat.UBJ, b"ubj"))
    onnx, tried = load_scorer(artifact), []
    monkeypatch.setattr("millrace_serving.adapters.engine.try_artifact", tried.append)
    monkeypatch.setattr("millrace_serving.adapters.engine.load_scorer", lambda _: onnx)
    champion = real.champion(1, write_artifact(replace(artifact, model=model)))
    other = real.champion(2, write_artifact(replace(artifact, model=model, parameters='{"a":1}')))
    for each in (champion, champion, other, champion):
        assert real.engine.load(each).platform == "xgboost_ubj"

    assert len(tried) == 2
