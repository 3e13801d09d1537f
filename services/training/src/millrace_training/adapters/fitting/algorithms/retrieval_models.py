"""Answers in words: that of the most similar prompt among the newest that were learnt, by the cosine of their columns.

Prompts whose columns are alike stand once, with their newest answer. One that has nothing in common with any gets the most
frequent answer. The ONNX form is the model: it answers the place of an answer among the signature's classes.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native
from millrace_artifacts.scorer import onnx_run
from millrace_artifacts.signature import Matrix
from millrace_training.adapters.fitting.algorithms.onnx_line import Line
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.reading.encoding import NEWEST_ANSWERS

DEFAULTS: Parameters = {}
_SHORTEST = 1e-12  # of a row that says nothing
_SCALE = (
    2.0**30
)  # similarities are compared in steps of so small a part: finer ones are rounding, and hang on the batch
_LEAST = 1e-6  # similarity that is something in common


def draw(_: np.random.Generator) -> Parameters:
    """There is nothing to choose but how much past is learnt, which every search tries."""
    return {}


def fit(task: Task, _: Parameters) -> Fitted:
    """Weights count for nothing: of two equally similar prompts the newer one is answered from."""
    prompts = task.matrix[-NEWEST_ANSWERS:][::-1, task.text_columns].astype(np.float64)
    answers = task.targets[-NEWEST_ANSWERS:][::-1].astype(np.int64)
    lengths = np.sqrt((prompts**2).sum(axis=1))
    prompts, answers = prompts[lengths > _SHORTEST], answers[lengths > _SHORTEST]
    prompts /= np.sqrt((prompts**2).sum(axis=1, keepdims=True))
    newest = np.unique(prompts.astype(np.float32), axis=0, return_index=True)[1]
    newest.sort()
    counts = Counter(task.targets[-NEWEST_ANSWERS:].astype(np.int64).tolist())
    usual = min(counts, key=lambda place: (-counts[place], place))
    columns = np.array(task.text_columns, dtype=np.int64)
    return FittedRetrieval(
        task.matrix.shape[1], columns, prompts[newest].astype(np.float32), answers[newest], usual
    )


@dataclass(frozen=True, slots=True, eq=False)
class FittedRetrieval:
    """`columns` int64 of the matrix make a prompt, `prompts` float32 [prompts, columns] the newest first, `answers` int64
    [prompts] their answers' places, `usual` that of the most frequent."""

    width: int
    columns: NDArray[np.int64]
    prompts: Matrix
    answers_of: NDArray[np.int64]
    usual: int

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        found: NDArray[Any] = onnx_run(self.onnx(), self.width)(matrix)
        return found

    def onnx(self) -> bytes:
        """In double precision, and in steps far above what is left of rounding: the rows beside it change no answer."""
        line = Line.from_nothing(self.width)
        asked = line.cast(
            line.node("Gather", line.last, line.constant(self.columns), axis=1), np.float64
        )
        squares = line.node("ReduceSumSquare", asked, axes=[1], keepdims=1)
        length = line.node("Max", line.node("Sqrt", squares), line.numbers(_SHORTEST))
        turned = line.cast(line.constant(self.prompts.T), np.float64)
        similar = line.node("MatMul", line.node("Div", asked, length), turned)
        # in front of all, so that it is taken where nothing is more similar
        rows = line.node(
            "Mul", line.node("ReduceSumSquare", asked, axes=[1], keepdims=1), line.numbers(0.0)
        )
        least = line.node("Add", rows, line.numbers(_LEAST))
        every = line.node("Concat", least, similar, axis=1)
        steps = line.node("Cast", line.node("Mul", every, line.numbers(_SCALE)), to=_INT64)
        best = line.node("ArgMax", line.cast(steps, np.float64), axis=1, keepdims=1)
        known = line.constant(np.concatenate([[self.usual], self.answers_of]).astype(np.float32))
        return line.ended(line.node("Gather", known, best), 1)

    def native(self) -> Native | None:
        return None


_INT64 = 7  # of ONNX's element types
