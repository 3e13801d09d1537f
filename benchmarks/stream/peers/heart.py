"""What the peers have in common: the 28 features and the model. Runs in their environments; it knows nothing of Millrace.

The windowed means cover (time - 10 s, time], the event itself included, as the pipeline file says.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime

TOLD = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}  # noqa: TID251  the one place of the peers that reads it
FIELDS = tuple(f"f{number:02d}" for number in range(20))
WINDOW_MS = 10_000


Remembered = deque[tuple[float, float, float, float]]


def load_model() -> Callable[[Sequence[Sequence[float]]], list[float]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        TOLD["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
    )
    source, answer = session.get_inputs()[0].name, session.get_outputs()[-1].name

    def score(rows: Sequence[Sequence[float]]) -> list[float]:
        """A list of 28 numbers a row; a list of answers."""
        matrix = np.array(rows, dtype=np.float32)
        answers: list[float] = session.run([answer], {source: matrix})[0].ravel().tolist()
        return answers

    return score


def vector(event: dict[str, Any], remembered: Remembered) -> list[float]:
    """The features of an event; what is remembered of its entity, (time, f00, f01, f02) each, is changed."""
    at = event["at"]
    numbers = [event[name] for name in FIELDS]
    remembered.append((at, numbers[0], numbers[1], numbers[2]))
    while remembered[0][0] <= at - WINDOW_MS:
        remembered.popleft()
    count = len(remembered)
    first = second = third = 0.0
    for _, one, two, three in remembered:
        first += one
        second += two
        third += three
    numbers += (
        numbers[0] * numbers[1],
        numbers[2] - numbers[3],
        abs(numbers[4]),
        max(numbers[5], numbers[6]),
        numbers[7] / (1 + abs(numbers[8])),
        first / count,
        second / count,
        third / count,
    )
    return numbers
