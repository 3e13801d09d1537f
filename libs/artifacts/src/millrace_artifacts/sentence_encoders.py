"""Sentence encoders: ONNX models that somebody brings, from a text to a row of numbers.

An encoder eats one tensor of strings [rows] and gives float32 or float64 [rows, width], each row from its own text alone. What
it may consist of is fixed here, as for the models that training exports (`inspection`): ONNX's own operators without control
flow, functions, further files or code of others. So an encoder splits its text itself (StringNormalizer, StringSplit, …);
one that needs a tokenizer of onnxruntime-extensions can't be taken.

An encoder is known by the digest of its bytes. It stays open as long as somebody holds it; whoever reads text columns by it
finds it by that digest.
"""

import hashlib
import importlib
from collections.abc import Sequence
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.encoder_inspection import ENCODER_OPERATORS, inspect_encoder
from millrace_artifacts.errors import UnreadableArtifactError, WrongColumnsError

LARGEST_ENCODER = 100 * 1024 * 1024  # bytes
MOST_COLUMNS = 4_096
_ROWS_AT_ONCE = 256
_PROBE = ("", "A text.", "and another one, which is longer: 1, 2, 3")
# A row must not depend on the rows beside it; what is left is rounding
_ALIKE = 1e-4
_FATAL_ONLY = 4

_open: WeakValueDictionary[str, "SentenceEncoder"] = WeakValueDictionary()
_opening = Lock()


class SentenceEncoder:
    """Raises UnreadableArtifactError for what is no encoder."""

    def __init__(self, content: bytes) -> None:
        if len(content) > LARGEST_ENCODER:
            raise UnreadableArtifactError(
                f"a sentence encoder of {len(content)} bytes; at most {LARGEST_ENCODER}"
            )
        inspect_encoder(content)
        self.content = content
        self.sha256 = digest_of(content)
        self._session = _session(content)
        [source], [answer] = self._session.get_inputs(), self._session.get_outputs()
        self._source, self._answer = source.name, answer.name
        self.width = self._probed()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [rows, width]; what is not finite becomes 0."""
        found = np.empty((len(texts), self.width), dtype=np.float32)
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            part = texts[start : start + _ROWS_AT_ONCE]
            found[start : start + len(part)] = self._run(part)
        found[~np.isfinite(found)] = 0.0
        return found

    def _run(self, texts: Sequence[str]) -> Any:  # noqa: ANN401 - onnxruntime is not typed
        # a lone surrogate has no UTF-8, which the runtime speaks
        sound = [text.encode(errors="replace").decode() for text in texts]
        given = np.array(sound, dtype=object)
        return self._session.run([self._answer], {self._source: given})[0]

    def _probed(self) -> int:
        try:
            together = np.asarray(self._run(_PROBE))
            alone = [np.asarray(self._run([text])) for text in _PROBE]
        except Exception as error:  # whatever a session raises of a graph that does not fit itself
            reason = (str(error).strip().splitlines() or [""])[0]
            raise UnreadableArtifactError(
                f"the sentence encoder does not answer a tensor of strings [rows]: {reason}"
            ) from error
        if together.ndim != 2 or together.dtype.kind != "f" or len(together) != len(_PROBE):
            raise UnreadableArtifactError(
                f"the sentence encoder gives {together.dtype} {list(together.shape)} for {len(_PROBE)} texts, "
                "not floats [rows, width]"
            )
        width = together.shape[1]
        if not 0 < width <= MOST_COLUMNS:
            raise UnreadableArtifactError(
                f"the sentence encoder gives {width} columns; at most {MOST_COLUMNS}"
            )
        if any(each.shape != (1, width) for each in alone) or not np.allclose(
            np.vstack(alone), together, rtol=_ALIKE, atol=_ALIKE, equal_nan=True
        ):
            raise UnreadableArtifactError(
                "the sentence encoder's answer to a text depends on the texts beside it; let it mask what it pads"
            )
        return int(width)


def digest_of(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def open_encoder(content: bytes) -> SentenceEncoder:
    """The encoder of these bytes: the one that is open already, or a new one. Raises UnreadableArtifactError."""
    digest = digest_of(content)
    with _opening:
        encoder = _open.get(digest)
        if encoder is None:
            encoder = _open[digest] = SentenceEncoder(content)
        return encoder


def opened(digest: str) -> SentenceEncoder:
    """The open encoder of this digest. Raises WrongColumnsError when nobody holds it."""
    encoder = _open.get(digest)
    if encoder is None:
        raise WrongColumnsError(
            f"the sentence encoder {digest} is not open; the artifact that reads texts by it carries it"
        )
    return encoder


def _session(content: bytes) -> Any:  # noqa: ANN401 - onnxruntime is not typed
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes of error are many, and not one family
        raise UnreadableArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} refuses the sentence encoder: {error}"
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [each.type for each in inputs] != ["tensor(string)"] or len(outputs) != 1:
        kinds = [each.type for each in inputs]
        raise UnreadableArtifactError(
            f"the sentence encoder eats {kinds} and gives {len(outputs)} answers; "
            f"it must eat one tensor of strings [rows] and give one of floats [rows, width], by operators of these: "
            f"{', '.join(sorted(ENCODER_OPERATORS))}"
        )
    return session
