"""Making probabilities mean what they say: a map from what a model answered to how often it came true.

    isotonic   a growing line through what came true (Zadrozny and Elkan 2002), joined at the middles of its steps
               (centred isotonic regression, Oron and Flournoy 2017), so that it is continuous and never steeper than
               float32 bears
    platt      a logistic curve over the log odds (Platt 1999)

Of more than two classes each is mapped by itself, and together they are made to sum to 1. Both maps are plain arithmetic,
written once for numpy and once for ONNX.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from millrace_training.adapters.fitting.algorithms.onnx_line import Line
from millrace_training.adapters.fitting.options import ISOTONIC

Floats = NDArray[np.float64]

_LEAST = (
    1e-5  # a probability below it, or so far from 1, has log odds of which float32 knows little
)
_CLOSEST = 1e-3  # joints of the line are so far apart at least
_FEWEST = (
    5  # rows of a class and rows of others, below which nothing is said of how often it came true
)
_CERTAINTY = (
    1e-6  # added before classes are made to sum to 1, so that there is something to share out
)


class Calibration(Protocol):
    """`columns` float64 [rows, maps]: probabilities of class 1, or of every class."""

    def mapped(self, columns: Floats) -> Floats: ...
    def write(self, line: Line, columns: str) -> str: ...


def calibrated(method: str, columns: Floats, came: NDArray[np.bool_]) -> Calibration:
    """Fit a map for each column of probabilities to what `came` true, bool [rows, maps]."""
    pairs = list(zip(columns.T, came.T, strict=True))
    if method == ISOTONIC:
        return _joined([_isotonic(*pair) for pair in pairs])
    curves = np.array([_platt(*pair) for pair in pairs])
    return Platt(curves[:, 0], curves[:, 1])


@dataclass(frozen=True, slots=True, eq=False)
class Platt:
    """`slope` and `offset` float64 [maps]."""

    slope: Floats
    offset: Floats

    def mapped(self, columns: Floats) -> Floats:
        odds = _log_odds(columns) * self.slope + self.offset
        mapped: Floats = 1.0 / (1.0 + np.exp(-odds))
        return mapped

    def write(self, line: Line, columns: str) -> str:
        bounds = (line.constant(np.array(each)) for each in (_LEAST, 1.0 - _LEAST))
        inner = line.node("Clip", columns, *bounds)
        rest = line.node("Sub", line.numbers(1.0), inner)
        odds = line.node("Sub", line.node("Log", inner), line.node("Log", rest))
        sloped = line.node("Mul", odds, line.constant(self.slope))
        return line.node("Sigmoid", line.node("Add", sloped, line.constant(self.offset)))


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """Piece by piece: `first` float64 [maps], then `slope` over the `length` from `start` on, float64 [maps, pieces] each."""

    first: Floats
    start: Floats
    length: Floats
    slope: Floats

    def mapped(self, columns: Floats) -> Floats:
        gone = np.clip(columns[:, :, np.newaxis] - self.start, 0.0, self.length)
        mapped: Floats = self.first + (gone * self.slope).sum(axis=2)
        return mapped

    def write(self, line: Line, columns: str) -> str:
        axis = line.constant(np.array([2], dtype=np.int64))
        from_start = line.node(
            "Sub", line.node("Unsqueeze", columns, axis), line.constant(self.start)
        )
        ahead = line.node("Max", from_start, line.numbers(0.0))
        gone = line.node("Min", ahead, line.constant(self.length))
        risen = line.node("Mul", gone, line.constant(self.slope))
        total = line.node("ReduceSum", risen, axis, keepdims=0)
        return line.node("Add", total, line.constant(self.first))


def shared_out(columns: Floats) -> Floats:
    """Probabilities of all classes from the maps' answers: [rows, classes]."""
    if columns.shape[1] == 1:
        return np.hstack([1.0 - columns, columns])
    some = columns + _CERTAINTY
    shared: Floats = some / some.sum(axis=1, keepdims=True)
    return shared


def write_shared_out(line: Line, columns: str, maps: int) -> str:
    if maps == 1:
        return line.node("Concat", line.node("Sub", line.numbers(1.0), columns), columns, axis=1)
    some = line.node("Add", columns, line.numbers(_CERTAINTY))
    axis = line.constant(np.array([1], dtype=np.int64))
    return line.node("Div", some, line.node("ReduceSum", some, axis, keepdims=1))


def _log_odds(columns: Floats) -> Floats:
    inner = np.clip(columns, _LEAST, 1.0 - _LEAST)
    odds: Floats = np.log(inner) - np.log(1.0 - inner)
    return odds


def _tells(came: NDArray[np.bool_]) -> bool:
    return min(int(came.sum()), int((~came).sum())) >= _FEWEST


def _platt(column: Floats, came: NDArray[np.bool_]) -> tuple[float, float]:
    """A curve that falls would turn the model's answers round: then it knows nothing, and stays as it is."""
    if not _tells(came):
        return 1.0, 0.0
    curve = LogisticRegression(C=1e3).fit(_log_odds(column)[:, np.newaxis], came)
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    return (slope, offset) if slope > 0.0 else (1.0, 0.0)


def _isotonic(column: Floats, came: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Where the line has its joints, and how high: at least two, growing by at least _CLOSEST."""
    straight = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    if not _tells(came):
        return straight
    order = np.argsort(column, kind="stable")
    heights = IsotonicRegression().fit_transform(column[order], came[order].astype(np.float64))
    steps = np.cumsum(np.diff(heights, prepend=heights[0]) > 0.0)
    counts = np.bincount(steps).astype(np.float64)
    middles = np.bincount(steps, column[order]) / counts
    levels = np.bincount(steps, heights) / counts
    places, tops = _apart(middles, levels, counts)
    # nothing is certain of which so few rows tell
    uncertain = 1.0 / (len(came) + 2.0)
    return (places, np.clip(tops, uncertain, 1.0 - uncertain)) if len(places) > 1 else straight


def _apart(middles: Floats, levels: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Neighbours that are too close become one, at their mean."""
    kept: list[list[float]] = []
    for middle, level, count in zip(middles, levels, counts, strict=True):
        if kept and middle - kept[-1][0] < _CLOSEST:
            last = kept[-1]
            total = last[2] + count
            last[0] += (middle - last[0]) * count / total
            last[1] += (level - last[1]) * count / total
            last[2] = total
        else:
            kept.append([float(middle), float(level), float(count)])
    joints = np.array(kept)
    return joints[:, 0], joints[:, 1]


def _joined(lines: list[tuple[Floats, Floats]]) -> Isotonic:
    """Lines of unlike lengths in one array; pieces that one does not have are flat."""
    pieces = max(len(places) for places, _ in lines) - 1
    start, length, slope = (np.zeros((len(lines), pieces)) for _ in range(3))
    for row, (places, tops) in enumerate(lines):
        count = len(places) - 1
        start[row, :count], length[row, :count] = places[:-1], np.diff(places)
        slope[row, :count] = np.diff(tops) / np.diff(places)
    return Isotonic(np.array([tops[0] for _, tops in lines]), start, length, slope)
