"""What stands behind a library's model: calibrated probabilities, quantiles that do not cross, an interval that keeps its word.

What is learnt of a model's errors is learnt on rows that it has not learnt: the model is fitted on the older rows, those whose
label was known when the newest fifth began; its errors are looked at on that fifth, and then it is fitted on all of them, as
what ships is fitted on the holdout too. The holdout itself is never among them.

    interval   split conformal prediction: value ± the error that so large a share of the newest rows stays within (Lei et
               al. 2018); with quantiles, their outermost ones moved by what they fell short (conformalized quantile
               regression, Romano et al. 2019). It holds on the holdout as far as the newest rows are like it: its
               coverage is measured, not promised.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native
from millrace_artifacts.signature import MEDIAN, Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.calibrating import (
    Calibration,
    calibrated,
    shared_out,
    write_shared_out,
)
from millrace_training.adapters.fitting.algorithms.estimators import Algorithm
from millrace_training.adapters.fitting.algorithms.onnx_line import Line
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.job import NoCandidateError, TooFewRowsError
from millrace_training.adapters.fitting.options import Options

Floats = NDArray[np.float64]

_NEWEST = 5  # one in so many rows
_FEWEST_ROWS = 20  # of which anything is said about errors


def fit_finished(
    algorithm: Algorithm, task: Task, parameters: Parameters, options: Options
) -> Fitted:
    """The algorithm's model, with what the options ask for. Raises TooFewRowsError, NoCandidateError."""
    classifies = task.kind is not LabelKind.REGRESSION
    quantiles = () if classifies else options.quantiles
    if quantiles and not algorithm.quantiles:
        raise NoCandidateError(f"{algorithm.name} does not answer quantiles; xgboost does")
    asked = replace(
        task,
        weights=balanced(task) if classifies and options.balance else task.weights,
        quantiles=quantiles,
    )
    calibration, interval = (options.calibration, None) if classifies else (None, options.interval)
    if not (calibration or interval or quantiles):
        return algorithm.fit(asked, parameters)
    finish: _Finish
    if calibration:
        finish = _calibration(algorithm, asked, parameters, calibration)
    else:
        finish = _of_value(algorithm, asked, parameters, interval)
    return FittedFinished(algorithm.fit(asked, parameters), finish)


def fewest_rows(options: Options) -> int:
    """Of how many rows a model can be fitted at least with what the options ask for; 0: however few."""
    return _FEWEST_ROWS * _NEWEST if options.calibration or options.interval else 0


@dataclass(frozen=True, slots=True, eq=False)
class FittedFinished:
    """A library's model and what stands behind it. Only the ONNX form has both."""

    model: Fitted
    finish: "_Finish"

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        return self.finish.answers(_columns(self.model.answers(matrix)))

    def onnx(self) -> bytes:
        line = Line.behind(self.model.onnx())
        answer = self.finish.write(line, line.cast(line.last, np.float64))
        return line.ended(line.cast(answer, np.float32), self.finish.columns)

    def native(self) -> Native | None:
        return self.model.native()


@dataclass(frozen=True, slots=True, eq=False)
class _Calibrated:
    """Of two classes only class 1 is mapped."""

    calibration: Calibration
    classes: int

    @property
    def columns(self) -> int:
        return self.classes

    def answers(self, raw: Floats) -> Floats:
        return shared_out(self.calibration.mapped(_mapped_columns(raw, self.classes)))

    def write(self, line: Line, raw: str) -> str:
        if self.classes == 2:
            last = line.constant(np.array([-1], dtype=np.int64))
            raw = line.node("Gather", raw, last, axis=1)
        mapped = self.calibration.write(line, raw)
        return write_shared_out(line, mapped, 1 if self.classes == 2 else self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """The value, the quantiles in growing order, the ends of the interval: `moved` beyond the outermost quantiles or the value."""

    quantiles: tuple[float, ...]
    moved: float | None

    @property
    def columns(self) -> int:
        return 1 + len(self.quantiles) + (0 if self.moved is None else 2)

    def answers(self, raw: Floats) -> Floats:
        grown = np.sort(raw, axis=1)
        parts = [grown[:, [self._middle]]] + ([grown] if self.quantiles else [])
        if self.moved is not None:
            low, high = grown[:, :1] - self.moved, grown[:, -1:] + self.moved
            # moved inwards, the ends could pass each other
            parts += [np.minimum(low, high), np.maximum(low, high)]
        return np.hstack(parts)

    def write(self, line: Line, raw: str) -> str:
        width = line.constant(np.array([max(1, len(self.quantiles))], dtype=np.int64))
        places = line.node("TopK", raw, width, outputs=2, axis=1, largest=0, sorted=1)
        grown = line.beside(places)
        parts = [self._column(line, grown, self._middle)] + ([grown] if self.quantiles else [])
        if self.moved is not None:
            moved = line.numbers(self.moved)
            low = line.node("Sub", self._column(line, grown, 0), moved)
            high = line.node("Add", self._column(line, grown, -1), moved)
            parts += [line.node("Min", low, high), line.node("Max", low, high)]
        return line.node("Concat", *parts, axis=1)

    @property
    def _middle(self) -> int:
        return self.quantiles.index(MEDIAN) if self.quantiles else 0

    def _column(self, line: Line, source: str, place: int) -> str:
        return line.node("Gather", source, line.constant(np.array([place], np.int64)), axis=1)


_Finish = _Calibrated | _Spread


def balanced(task: Task) -> Floats:
    """Weights under which every class weighs the same, whatever else weighs the rows; their mean stays what it was."""
    weights = np.ones(len(task.targets)) if task.weights is None else task.weights
    places = task.targets.astype(np.int64)
    sums = np.bincount(places, weights, minlength=task.classes)
    present = int(np.count_nonzero(sums))
    balanced: Floats = weights * (weights.sum() / (present * sums[places]))
    return balanced


def _calibration(
    algorithm: Algorithm, task: Task, parameters: Parameters, method: str
) -> _Calibrated:
    older, newest = _parted(task)
    probabilities = np.zeros((len(newest.targets), task.classes))
    seen = np.unique(older.targets)
    if len(seen) == 1:
        probabilities[:, int(seen[0])] = 1.0
    else:
        # a class that only the newest rows have is none yet
        known = replace(
            older,
            targets=np.searchsorted(seen, older.targets).astype(np.float64),
            classes=len(seen),
        )
        raw = _columns(algorithm.fit(known, parameters).answers(newest.matrix))
        if task.classes == 2:
            raw = shared_out(raw[:, -1:])
        probabilities[:, seen.astype(np.int64)] = raw
    truths = newest.targets[:, np.newaxis]
    came = truths == (np.array([1.0]) if task.classes == 2 else np.arange(task.classes))
    columns = _mapped_columns(probabilities, task.classes)
    return _Calibrated(calibrated(method, columns, came), task.classes)


def _of_value(
    algorithm: Algorithm, task: Task, parameters: Parameters, interval: float | None
) -> _Spread:
    if interval is None:
        return _Spread(task.quantiles, None)
    older, newest = _parted(task)
    answers = np.sort(_columns(algorithm.fit(older, parameters).answers(newest.matrix)), axis=1)
    short = np.maximum(answers[:, 0] - newest.targets, newest.targets - answers[:, -1])
    # the share of the newest rows and of the one to come (Lei et al. 2018)
    rank = min(len(short), int(np.ceil((len(short) + 1) * interval)))
    return _Spread(task.quantiles, float(np.sort(short)[rank - 1]))


def _parted(task: Task) -> tuple[Task, Task]:
    """The older rows whose label was known when the newest began, to learn from, and the newest, to look at errors.

    Where nearly none was known, all older ones.
    """
    border = len(task.targets) - len(task.targets) // _NEWEST
    if len(task.targets) - border < _FEWEST_ROWS:
        raise TooFewRowsError(
            f"calibration and intervals look at the newest {len(task.targets) - border} of {len(task.targets)} training rows; "
            f"{_FEWEST_ROWS} are needed at least, wait for more labels"
        )
    known = _known(task, border)
    older = slice(0, known if known >= _FEWEST_ROWS else border)
    return _part(task, older), _part(task, slice(border, None))


def _known(task: Task, border: int) -> int:
    """How many rows before the border had a label when the row there was due."""
    if task.event_times is None or task.label_delay_us <= 0:
        return border
    until = task.event_times[border] - task.label_delay_us
    return int(np.searchsorted(task.event_times[:border], until, side="right"))


def _part(task: Task, part: slice) -> Task:
    return replace(
        task,
        matrix=task.matrix[part],
        targets=task.targets[part],
        weights=None if task.weights is None else task.weights[part],
        event_times=None if task.event_times is None else task.event_times[part],
    )


def _columns(raw: NDArray[Any]) -> Floats:
    answers = np.asarray(raw, dtype=np.float64)
    return answers[:, np.newaxis] if answers.ndim == 1 else answers


def _mapped_columns(raw: Floats, classes: int) -> Floats:
    return raw[:, -1:] if classes == 2 else raw
