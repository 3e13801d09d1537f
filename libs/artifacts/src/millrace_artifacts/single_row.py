"""One row at a time, for whoever answers single questions: no array is made, and nothing is bound anew for each of them."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

# the ufunc behind np.clip, whose own wrapper takes longer than the work does for one row
from numpy._core.umath import clip  # type: ignore[attr-defined]  # numpy tells its types of np.clip only

from millrace_artifacts.signature import UNKNOWN_CODE, Encoding, Matrix, Numbers, Signature

_LARGEST = np.array(np.finfo(np.float32).max, dtype=np.float64)
_SMALLEST = np.negative(_LARGEST, out=np.empty(()))  # an array too: a scalar takes twice as long


class RunOnce(Protocol):
    """Answers what stands in one float32 buffer, into another: [1, width] to [1, answers]."""

    answers: Matrix

    def __call__(self) -> object: ...


class BoundOnnx:
    """An ONNX Runtime session whose input and output stay bound to the same two buffers."""

    def __init__(self, session: Any, source: str, answer: str, matrix: Matrix) -> None:  # noqa: ANN401 - onnxruntime is not typed
        """Runs the session once, with what stands in `matrix`, to see the shape of its answer.

        Raises ValueError for a session whose answer to one row is not float32 [1, answers].
        """
        [first] = session.run([answer], {source: matrix})
        if first.dtype != np.float32 or first.ndim != 2 or len(first) != 1:
            raise ValueError(f"the answer to one row is {first.dtype} {first.shape}")
        self.matrix, self.answers = matrix, np.ascontiguousarray(first)
        self._binding = session.io_binding()
        for bind, name, buffer in (
            (self._binding.bind_input, source, matrix),
            (self._binding.bind_output, answer, self.answers),
        ):
            bind(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        self._bound = self._binding._iobinding  # noqa: SLF001  the public call takes as long as the run itself
        self._run = session._sess.run_with_iobinding  # noqa: SLF001

    def __call__(self) -> None:
        self._run(self._bound, None)


class RowScorer:
    """Scores single rows: the answers of `Scorer.score`, bit by bit, in a fraction of its time.

    It works in buffers of its own, so only one thread may use it, and one call ends before the next begins.
    """

    def __init__(self, signature: Signature, matrix: Matrix, run: RunOnce) -> None:
        self._run = run
        self._row = matrix[0]
        self._numbers = self._row[: len(signature.numbers)]
        self._codes = self._row[len(signature.numbers) :]
        self._is_ordinal = signature.encoding is Encoding.ORDINAL
        self._places: list[dict[str, int]] = []
        start = 0
        for words in signature.vocabularies:
            self._places.append({text: start + place for place, text in enumerate(words)})
            start += 0 if self._is_ordinal else len(words)
        self._answers = run.answers[0]

    def score(self, numbers: Numbers, categories: Sequence[str]) -> list[float]:
        """What the model answers to one row, as its library gives it: [answers].

        `numbers` is float64 [numbers] (NaN: missing), `categories` one text per category column; how they are encoded
        is said at `Encoder.encode`.
        """
        clip(numbers, _SMALLEST, _LARGEST, self._numbers, casting="same_kind")
        if self._places:
            self._put(categories)
        self._run()
        answers: list[float] = self._answers.tolist()
        return answers

    def _put(self, categories: Sequence[str]) -> None:
        codes = self._codes
        if self._is_ordinal:
            for column, (places, text) in enumerate(zip(self._places, categories, strict=True)):
                codes[column] = places.get(text, UNKNOWN_CODE)
            return
        codes[:] = 0.0
        for places, text in zip(self._places, categories, strict=True):
            place = places.get(text)
            if place is not None:
                codes[place] = 1.0
