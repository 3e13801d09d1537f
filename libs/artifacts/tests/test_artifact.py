import contextlib
import io
import math
import re
from dataclasses import replace
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_artifacts import archive as module
from millrace_artifacts.artifact import (
    Model,
    Native,
    NativeFormat,
    Parity,
    Runtime,
    Speed,
    read_artifact,
    write_artifact,
)
from millrace_artifacts.errors import UnreadableArtifactError

DIFFERS = Parity(largest_difference=0.5, tolerance=1e-4, rows=10)


def rewritten(content, change):
    """The zip with its files changed by `change(files)`."""
    with ZipFile(io.BytesIO(content)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def test_an_artifact_is_read_as_it_was_written(an_artifact):
    artifact = an_artifact()
    assert read_artifact(write_artifact(artifact)) == artifact


def test_a_model_that_was_not_fitted_again_is_kept_once(an_artifact):
    artifact = an_artifact(measured=None)
    assert read_artifact(write_artifact(artifact)) == artifact


def test_equal_artifacts_are_equal_bytes(an_artifact):
    one = an_artifact(metrics={"mae": 1.0, "rmse": 2.0}, libraries={"a": "1", "b": "2"})
    other = an_artifact(metrics={"rmse": 2.0, "mae": 1.0}, libraries={"b": "2", "a": "1"})
    assert write_artifact(one) == write_artifact(other)
    assert write_artifact(one) == write_artifact(read_artifact(write_artifact(one)))


def test_the_manifest_names_whose_the_metrics_are(an_artifact):
    with ZipFile(io.BytesIO(write_artifact(an_artifact()))) as archive:
        assert b'"metrics_of": "measured"' in archive.read("manifest.json")
        assert archive.namelist() == [
            "manifest.json",
            "model.onnx",
            "examples.json",
            "measured.onnx",
        ]


def test_metrics_that_are_not_finite_are_not_written(an_artifact):
    with pytest.raises(ValueError, match="mae"):
        write_artifact(an_artifact(metrics={"mae": float("nan")}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files.update({"evil.py": b""}), "evil.py"),
        (lambda files: files.pop("model.onnx"), "model.onnx"),
        (lambda files: files.pop("manifest.json"), "manifest.json is missing"),
        (lambda files: files.update({"model.onnx": b"other"}), "digests"),
        (lambda files: files.update({"manifest.json": b"{"}), "not readable"),
        (lambda files: files.update({"manifest.json": b'{"format":2}'}), "format 2"),
        (lambda files: files.update({"manifest.json": b'{"format":1}'}), "not readable"),
    ],
)
def test_what_is_not_exactly_an_artifact_is_refused(an_artifact, change, words):
    with pytest.raises(UnreadableArtifactError, match=words):
        read_artifact(rewritten(write_artifact(an_artifact()), change))


def test_a_file_that_the_manifest_names_but_this_version_does_not_know_is_refused(an_artifact):
    def add_a_file(files):
        empty = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        files["model.pkl"] = b""
        files["manifest.json"] = files["manifest.json"].replace(
            b'"files": {', b'"files": {"model.pkl": "' + empty + b'",'
        )

    with pytest.raises(UnreadableArtifactError, match=r"model\.pkl"):
        read_artifact(rewritten(write_artifact(an_artifact()), add_a_file))


def test_compressed_files_are_refused_so_nothing_can_unfold(an_artifact):
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * 10_000_000)
    with pytest.raises(UnreadableArtifactError, match="compressed"):
        read_artifact(target.getvalue())


def test_two_files_of_one_name_are_refused():
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("manifest.json", b"{}")
    with pytest.raises(UnreadableArtifactError, match="two of one name"):
        read_artifact(target.getvalue())


def test_more_bytes_than_an_artifact_may_have_are_refused_unread(monkeypatch, an_artifact):
    monkeypatch.setattr(module, "LARGEST_ARTIFACT", 100)
    with pytest.raises(UnreadableArtifactError, match="at most 100"):
        read_artifact(write_artifact(an_artifact()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(an_artifact, at, bit):
    artifact = an_artifact()
    content = bytearray(write_artifact(artifact))
    content[int(at * len(content))] ^= 1 << bit
    with contextlib.suppress(UnreadableArtifactError):
        assert read_artifact(bytes(content)) == artifact


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(content):
    with pytest.raises(UnreadableArtifactError):
        read_artifact(content)


def test_a_model_whose_onnx_form_differs_needs_xgboosts_own(an_artifact):
    model = an_artifact().model
    with pytest.raises(UnreadableArtifactError, match="differs"):
        replace(model, parity=DIFFERS)
    with pytest.raises(UnreadableArtifactError, match="differs"):
        replace(model, parity=DIFFERS, native=Native(NativeFormat.SKOPS, b""))
    with pytest.raises(UnreadableArtifactError, match="no ONNX"):
        replace(model, onnx=None)
    native = Native(NativeFormat.UBJ, b"")
    assert Model(model.signature, DIFFERS, None, native).runtime == "native"


SPEED = Speed(256, onnx_row_us=10.0, onnx_rows_us=900.0, native_row_us=290.0, native_rows_us=450.0)
UBJ = Native(NativeFormat.UBJ, b"ubj")


def test_the_manifest_says_who_answers_and_holds_no_time(an_artifact):
    artifact = an_artifact()
    preferring = replace(artifact, model=replace(artifact.model, native=UBJ, prefers_native=True))
    content = write_artifact(preferring)
    assert read_artifact(content) == preferring
    assert b'"runtime": "native"' in content
    assert b"_us" not in content.replace(b"since_us", b"").replace(b"until_us", b"")
    assert not read_artifact(write_artifact(artifact)).model.prefers_native


def test_an_artifact_that_still_holds_its_speed_is_read(an_artifact):
    artifact = an_artifact()
    preferring = replace(artifact, model=replace(artifact.model, native=UBJ, prefers_native=True))

    def before(files):
        speed = rb'"parity": {\1},"speed": {"rows": 256, "onnx_row_us": 10.0}'
        files["manifest.json"] = re.sub(rb'"parity": \{([^}]*)\}', speed, files["manifest.json"])
        assert b"onnx_row_us" in files["manifest.json"]

    assert read_artifact(rewritten(write_artifact(preferring), before)) == preferring


@pytest.mark.parametrize(
    ("prefers_native", "native", "largest_difference", "runtime"),
    [
        (False, UBJ, 0.0, Runtime.ONNX),
        (True, UBJ, 0.0, Runtime.NATIVE),
        (True, Native(NativeFormat.SKOPS, b""), 0.0, Runtime.ONNX),
        (True, None, 0.0, Runtime.ONNX),
        (False, UBJ, 1.0, Runtime.NATIVE),  # right before fast
    ],
)
def test_who_answers_is_chosen_by_parity_then_by_preference(
    an_artifact, prefers_native, native, largest_difference, runtime
):
    model = an_artifact().model
    parity = replace(model.parity, largest_difference=largest_difference)
    chosen = replace(model, native=native, prefers_native=prefers_native, parity=parity)
    assert chosen.runtime is runtime


def test_a_manifest_that_names_an_engine_without_its_file_is_refused(an_artifact):
    def lying(files):
        files["manifest.json"] = files["manifest.json"].replace(
            b'"runtime": "onnx"', b'"runtime": "native"'
        )

    with pytest.raises(UnreadableArtifactError, match="its parity and files say onnx"):
        read_artifact(rewritten(write_artifact(an_artifact()), lying))


@pytest.mark.parametrize(
    ("native_row_us", "advantage"), [(290.0, 0.263), (5.0, 2.0), (10.0, 1.414)]
)
def test_an_advantage_is_the_geometric_mean_of_one_rows_and_many_rows(native_row_us, advantage):
    speed = replace(SPEED, native_row_us=native_row_us)
    assert speed.advantage == pytest.approx(advantage, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_no_clock_measures_is_refused(value):
    with pytest.raises(UnreadableArtifactError, match="no measurement"):
        replace(SPEED, native_row_us=value)
