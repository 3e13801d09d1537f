"""A model artifact: one zip that holds everything needed to answer, to be checked, and to be opened again later.

    manifest.json    what it is: format, algorithm, signatures, metrics, what was learnt, libraries, files and digests
    model.onnx       the model that answers
    model.ubj        the same as XGBoost's own format; answers when the ONNX form was found to differ, or much slower:
                     the manifest says which of the two answers, and holds no time, so that equal fits are equal bytes
    model.skops      the same as scikit-learn object, for inspection only
    model.river      the same as an online learner's numbers: what the next update goes on with
    measured.onnx    the model as it was measured, before it learnt the holdout (`measured.ubj` when ONNX differs)
    encoder.onnx     the sentence encoder by which both read free text, where they do
    examples.json    some rows with the answers that they must get

Nothing in it is a pickle. Equal artifacts are equal bytes: files are stored uncompressed, in one order, with one date.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

from millrace_artifacts.archive import unzipped, zipped
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.signature import Signature

FORMAT = 1
# A native model is tried in a process of its own before it answers, which takes seconds: for less it is not worth it
NATIVE_ADVANTAGE = 1.5
_MANIFEST, _EXAMPLES, _ENCODER = "manifest.json", "examples.json", "encoder.onnx"

_Content = TypeVar("_Content")


class Runtime(StrEnum):
    """What answers for a model."""

    ONNX = "onnx"
    NATIVE = "native"  # its own library: XGBoost only


class NativeFormat(StrEnum):
    """How a model is kept in its own library's safe format; also the file's suffix."""

    UBJ = "ubj"  # XGBoost, universal binary JSON
    SKOPS = "skops"  # scikit-learn
    RIVER = "river"  # an online learner's state as plain numbers, JSON


@dataclass(frozen=True, slots=True)
class Native:
    format: NativeFormat
    content: bytes


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the ONNX form is from the model itself: the largest difference over some rows.

    For regression relative to the spread (standard deviation) of the answers, else of probabilities.
    """

    largest_difference: float
    tolerance: float
    rows: int

    @property
    def holds(self) -> bool:
        return self.largest_difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Speed:
    """How long both forms take for one row, and for `rows` rows at once: microseconds of a processor, the best of several.

    Kept with the run, never in the artifact: clocks may not decide about its bytes.
    Raises UnreadableArtifactError for what no clock measures.
    """

    rows: int
    onnx_row_us: float
    onnx_rows_us: float
    native_row_us: float
    native_rows_us: float

    def __post_init__(self) -> None:
        times = (self.onnx_row_us, self.onnx_rows_us, self.native_row_us, self.native_rows_us)
        if self.rows < 1 or not all(0 < each < math.inf for each in times):
            raise UnreadableArtifactError(f"{self} is no measurement")

    @property
    def advantage(self) -> float:
        """How many times as fast the native form is: the geometric mean of one row's and many rows'."""
        one = self.onnx_row_us / self.native_row_us
        many = self.onnx_rows_us / self.native_rows_us
        return math.sqrt(one * many)


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model: `onnx` answers if parity holds, unless `prefers_native`: XGBoost's own form was found much faster.

    The preference is what came of measuring (`Speed`), not the measurement, which no two fits agree on. `only_onnx`: what
    stands behind the library's own model (calibration, quantiles, an interval) stands in the ONNX form alone; `native` is the
    model without it, and never answers. `encoder` reads the signature's text columns that name one. Raises UnreadableArtifactError
    if what answers is absent.
    """

    signature: Signature
    parity: Parity
    onnx: bytes | None
    native: Native | None
    prefers_native: bool = False
    only_onnx: bool = False
    encoder: bytes | None = None

    def __post_init__(self) -> None:
        named = {text.encoder for text in self.signature.texts} - {""}
        if named != (set() if self.encoder is None else {_sha256(self.encoder)}):
            raise UnreadableArtifactError(
                "the model reads texts by a sentence encoder that is not there, or is another one"
            )
        if self.only_onnx and not self.parity.holds:
            raise UnreadableArtifactError(
                "the model's ONNX form differs from it, and only that form is calibrated or has an interval"
            )
        if self.runtime is Runtime.ONNX and self.onnx is None:
            raise UnreadableArtifactError("the model answers through ONNX, but has no ONNX form")
        if self.runtime is Runtime.NATIVE and (
            self.native is None or self.native.format is not NativeFormat.UBJ
        ):
            raise UnreadableArtifactError(
                "the model's ONNX form differs from it, and there is no XGBoost form to answer instead"
            )

    @property
    def runtime(self) -> Runtime:
        if self.only_onnx:
            return Runtime.ONNX
        if not self.parity.holds:
            return Runtime.NATIVE
        is_ubj = self.native is not None and self.native.format is NativeFormat.UBJ
        return Runtime.NATIVE if is_ubj and self.prefers_native else Runtime.ONNX


@dataclass(frozen=True, slots=True)
class Learnt:
    """The rows that the answering model learnt: how many, and the event times of the first and last (microseconds).

    The metrics are over `holdout_rows` rows; the measured model learnt up to `measured_until_us`, before the first of them.
    """

    rows: int
    since_us: int
    until_us: int
    holdout_rows: int
    measured_until_us: int


@dataclass(frozen=True, slots=True)
class Example:
    """A row and its answer. None stands for NaN. `probabilities` is empty for regression."""

    numbers: tuple[float | None, ...]
    categories: tuple[str, ...]
    value: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One model version as it is stored.

    `metrics` are over the holdout and belong to `measured`: the same recipe, fitted without the holdout. `model` is then
    fitted on the holdout too, so that what answers has learnt the newest rows. `measured` is None when both are the same
    model. A champion is compared with a candidate by its `measured`: both were fitted as far behind what they ship.
    `parameters` is JSON.
    """

    algorithm: str
    parameters: str
    model: Model
    measured: Model | None
    metrics: Mapping[str, float]
    learnt: Learnt
    libraries: Mapping[str, str]
    examples: tuple[Example, ...]

    @property
    def signature(self) -> Signature:
        return self.model.signature


@dataclass(frozen=True, slots=True)
class _Entry:
    """A model in the manifest."""

    signature: Signature
    runtime: Runtime
    parity: Parity
    only_onnx: bool = False


@dataclass(frozen=True, slots=True)
class _Manifest:
    format: int
    algorithm: str
    parameters: str
    model: _Entry
    measured: _Entry | None
    metrics: dict[str, float]
    metrics_of: str
    learnt: Learnt
    libraries: dict[str, str]
    files: dict[str, str]  # sha256, hexadecimal


@dataclass(frozen=True, slots=True)
class _Format:
    format: int


def write_artifact(artifact: Artifact) -> bytes:
    """The artifact's bytes: equal for equal artifacts. Raises ValueError for a metric that is not finite."""
    unfit = [name for name, value in artifact.metrics.items() if not math.isfinite(value)]
    if unfit:
        raise ValueError(f"the metrics {unfit} are not finite; leave out what can't be computed")
    files = _model_files("model", artifact.model) | {_EXAMPLES: _json(artifact.examples)}
    if artifact.measured is not None:
        files |= _model_files("measured", artifact.measured)
    if artifact.model.encoder is not None:
        files[_ENCODER] = artifact.model.encoder
    manifest = _Manifest(
        format=FORMAT,
        algorithm=artifact.algorithm,
        parameters=artifact.parameters,
        model=_entry(artifact.model),
        measured=None if artifact.measured is None else _entry(artifact.measured),
        metrics=dict(artifact.metrics),
        metrics_of="model" if artifact.measured is None else "measured",
        learnt=artifact.learnt,
        libraries=dict(artifact.libraries),
        files={name: _sha256(content) for name, content in files.items()},
    )
    return zipped({_MANIFEST: _json(manifest)} | files)


def read_artifact(content: bytes) -> Artifact:
    """Read what `write_artifact` wrote.

    Raises UnreadableArtifactError for anything else: another format, a file too many or too few, one that is compressed
    (and so could grow), one that is not what its digest says, more than LARGEST_ARTIFACT bytes.
    """
    files = unzipped(content)
    if _MANIFEST not in files:
        raise UnreadableArtifactError(f"not an artifact: {_MANIFEST} is missing")
    _check_format(files[_MANIFEST])
    manifest = _decoded(files.pop(_MANIFEST), _Manifest)
    _check_digests(manifest.files, files)
    encoder = files.pop(_ENCODER, None)
    model = _taken_model("model", manifest.model, files, encoder)
    measured = (
        None
        if manifest.measured is None
        else _taken_model("measured", manifest.measured, files, encoder)
    )
    examples = _decoded(files.pop(_EXAMPLES, b""), tuple[Example, ...])
    if files:
        raise UnreadableArtifactError(
            f"the artifact holds files that this version does not know: {sorted(files)}"
        )
    return Artifact(
        algorithm=manifest.algorithm,
        parameters=manifest.parameters,
        model=model,
        measured=measured,
        metrics=manifest.metrics,
        learnt=manifest.learnt,
        libraries=manifest.libraries,
        examples=examples,
    )


def _model_files(role: str, model: Model) -> dict[str, bytes]:
    files = {} if model.onnx is None else {f"{role}.onnx": model.onnx}
    if model.native is not None:
        files[f"{role}.{model.native.format}"] = model.native.content
    return files


def _taken_model(role: str, entry: _Entry, files: dict[str, bytes], encoder: bytes | None) -> Model:
    """Takes the model's own files out of `files`."""
    natives = [
        Native(kind, files.pop(f"{role}.{kind}"))
        for kind in NativeFormat
        if f"{role}.{kind}" in files
    ]
    if len(natives) > 1:
        raise UnreadableArtifactError(f"the artifact holds {role} in two libraries' formats")
    model = Model(
        entry.signature,
        entry.parity,
        files.pop(f"{role}.onnx", None),
        natives[0] if natives else None,
        entry.parity.holds and entry.runtime is Runtime.NATIVE,
        entry.only_onnx,
        encoder,
    )
    if model.runtime is not entry.runtime:
        raise UnreadableArtifactError(
            f"the manifest says that {role} runs as {entry.runtime}, but its parity and files say {model.runtime}"
        )
    return model


def _entry(model: Model) -> _Entry:
    return _Entry(model.signature, model.runtime, model.parity, model.only_onnx)


def _check_format(manifest: bytes) -> None:
    found = _decoded(manifest, _Format).format
    if found != FORMAT:
        raise UnreadableArtifactError(
            f"the artifact has format {found}, this version reads {FORMAT}; upgrade the reader, or train again"
        )


def _check_digests(announced: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    if announced.keys() != files.keys():
        raise UnreadableArtifactError(
            f"the manifest names {sorted(announced)}, the artifact holds {sorted(files)}"
        )
    damaged = sorted(name for name, content in files.items() if _sha256(content) != announced[name])
    if damaged:
        raise UnreadableArtifactError(f"not what the manifest's digests say: {damaged}")


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1)


def _decoded(content: bytes, kind: type[_Content]) -> _Content:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableArtifactError(
            f"not readable as {getattr(kind, '__name__', kind)}: {error}"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
