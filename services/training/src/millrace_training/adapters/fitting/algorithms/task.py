"""What every kind of model is given to learn, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind

Parameters: TypeAlias = Mapping[str, float]  # whole numbers are int


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """`matrix` float32 [rows, width], `targets` float64 [rows]: the value, or the place of the class, each of which occurs.

    `weights` float64 [rows]: how much each row counts, the newest 1; None: all the same. `event_times` int64 [rows], in
    microseconds, and `label_delay_us` say which labels were known when (see `finishing`); None: each at once.
    """

    matrix: Matrix
    targets: NDArray[np.float64]
    kind: LabelKind
    classes: int  # 0 for regression
    seed: int
    threads: int
    weights: NDArray[np.float64] | None = None
    columns: tuple[str, ...] = ()  # the matrix's, by name
    text_columns: tuple[int, ...] = ()  # those of the matrix's that are made of free text
    quantiles: tuple[float, ...] = ()  # of the label, to be answered beside the value; regression's
    event_times: NDArray[np.int64] | None = None
    label_delay_us: int = 0


class Fitted(Protocol):
    """A fitted model of one library."""

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        """As `millrace_artifacts.scorer.as_scores` takes them: values, or probabilities."""

    def onnx(self) -> bytes:
        """One input, float32 [rows, width]; the answer is the last output. Equal models give equal bytes."""

    def native(self) -> Native | None:
        """The library's own safe format."""
