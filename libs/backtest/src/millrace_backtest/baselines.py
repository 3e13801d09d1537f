"""What simple habits would have done with the same training procedure: what a policy must be held against.

Time after the first model is cut into windows of equally many events. *frozen* never trains again, *every* does at each
border, *periodic* at every k-th, *adwin* at the end of a window in which ADWIN fired on its own model's error. All train
blindly on what was known at the border (labels as late as they were), and answer with the new model once the training
latency is over. They share their models: the one of a border is the same whoever asks for it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from millrace_backtest.answering import Answering, Answers, empty
from millrace_backtest.errors import BacktestError
from millrace_backtest.fits import Request, Trainer, first_fit
from millrace_backtest.recording import Recording
from millrace_backtest.scoring import Truths, errors_of
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_kernel.time import Duration, Instant
from millrace_monitoring.domain import adwin
from millrace_monitoring.domain.findings import LONGEST_ERROR
from millrace_training.adapters.fitting.job import FitError, FitResult

FEWEST_A_WINDOW = 10  # events
Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Played:
    """The answers to the events from the first model on, and what the training of all models cost."""

    answers: Answers
    retrains: int
    cpu_seconds: float


@dataclass(slots=True)
class Windows:
    """`borders[0]` is the first event that the first model answers, `borders[-1]` stands behind the last event."""

    first_at: Instant  # when the first model was trained
    borders: list[int]

    @property
    def start(self) -> int:
        return self.borders[0]


def windows_of(recording: Recording, count: int, latency: Duration) -> Windows:
    """Raises BacktestError when too little is left after the first model."""
    needed = recording.pipeline.model.first_after
    first_at = _first_at(recording, needed)
    start = int(np.searchsorted(recording.recorded_at, first_at + latency, side="left"))
    left = len(recording) - start
    if left < count * FEWEST_A_WINDOW:
        raise BacktestError(
            f"{left} events are left after the first model, which waits for {needed} labelled rows; {count} windows need "
            f"{count * FEWEST_A_WINDOW}: lower model.train_on.first, or ask for fewer windows"
        )
    borders = [start + left * window // count for window in range(count + 1)]
    return Windows(first_at, borders)


def _first_at(recording: Recording, needed: int) -> Instant:
    standing: set[int] = set()
    for told in recording.labels:
        if told.value is None:
            standing.discard(told.event)
        else:
            standing.add(told.event)
        if len(standing) >= needed:
            return told.recorded_at
    raise BacktestError(
        f"{len(standing)} events have a label, and the first model waits for {needed}: lower model.train_on.first"
    )


@dataclass(slots=True)
class Baselines:
    """Plays them over one recording."""

    recording: Recording
    pipeline: Pipeline
    trainer: Trainer
    windows: Windows
    latency: Duration
    truths: Truths  # of the events from `windows.start` on; NaN or "" where there is none
    done: Done = lambda: None
    _results: dict[int, FitResult] = field(default_factory=dict)
    _models: dict[int, Answering] = field(default_factory=dict)

    def frozen(self) -> Played:
        return self._retrained_at(())

    def every(self) -> Played:
        return self._retrained_at(range(1, len(self.windows.borders) - 1))

    def periodic(self, cpu_seconds: float) -> Played:
        """At every k-th border, k the largest that costs no less than this."""
        windows = len(self.windows.borders) - 1
        for k in range(windows, 1, -1):
            borders = range(k, windows, k)
            if self._cost((0, *borders)) >= cpu_seconds:
                return self._retrained_at(borders)
        return self.every()

    def adwin(self) -> Played:
        at: list[int] = []
        watcher = _Watcher(self)
        for border in range(1, len(self.windows.borders) - 1):
            if watcher.fired_by(border, at[-1] if at else 0):
                at.append(border)
        return self._retrained_at(at)

    def result(self, border: int) -> FitResult:
        """What training at a border gives; border 0 is the first model's."""
        if border not in self._results:
            self._results[border] = self._fit(border)
            self.done()
        return self._results[border]

    def span(self, border: int) -> int:
        """The first event that the model of a border answers."""
        if not border:
            return self.windows.start
        ready = self._trained_at(border) + self.latency
        return int(np.searchsorted(self.recording.recorded_at, ready, side="left"))

    def answers(self, border: int, start: int, stop: int) -> Answers:
        if border not in self._models:
            self._models[border] = Answering.of(self.result(border).artifact)
        return self._models[border].over(self.recording, start, stop)

    def _retrained_at(self, borders: Iterable[int]) -> Played:
        chosen = (0, *borders)
        start, stop = self.windows.start, self.windows.borders[-1]
        answers = empty(self.pipeline.label.kind, stop - start)
        begins = [*(self.span(border) for border in chosen), stop]
        for border, begin, end in zip(chosen, begins, begins[1:], strict=False):
            answers[begin - start : end - start] = self.answers(border, begin, end)
        return Played(answers, len(chosen) - 1, self._cost(chosen))

    def _cost(self, borders: Iterable[int]) -> float:
        """CPU seconds of the models of these borders."""
        return sum(self.result(border).cpu_seconds for border in borders)

    def _trained_at(self, border: int) -> Instant:
        """Just before the border's first event, so that nothing of that event can be known."""
        if not border:
            return self.windows.first_at
        return Instant(int(self.recording.recorded_at[self.windows.borders[border]]) - 1)

    def _fit(self, border: int) -> FitResult:
        at = self._trained_at(border)
        if not border:
            return first_fit(self.trainer, self.pipeline, at)
        try:
            return self.trainer.run(self.pipeline, Request(at))
        except FitError as error:
            raise BacktestError(f"no model at border {border}: {error}") from error


class _Watcher:
    """ADWIN over the errors of the model that answers, in the order in which labels came."""

    def __init__(self, baselines: Baselines) -> None:
        self._baselines = baselines
        self._told = iter(baselines.recording.labels)
        self._next = next(self._told, None)
        self._model = 0
        self._errors: dict[int, float] = {}
        self._begin = baselines.windows.start
        self._detector = adwin.Adwin(baselines.pipeline.monitoring.concept_drift_delta)

    def fired_by(self, border: int, model: int) -> bool:
        """Take in the labels known by a border; `model` is the border whose model answers since."""
        baselines = self._baselines
        if model != self._model:
            self._model = model
            self._detector = adwin.Adwin(self._detector.delta)
            self._begin = baselines.span(model)
        until = int(baselines.recording.recorded_at[baselines.windows.borders[border]])
        seen: list[int] = []
        while self._next is not None and self._next.recorded_at < until:
            if self._next.event >= self._begin and self._next.value is not None:
                seen.append(self._next.event)
            self._next = next(self._told, None)
        return self._fires(seen)

    def _fires(self, seen: list[int]) -> bool:
        if not seen:
            return False
        baselines, kind = self._baselines, self._baselines.pipeline.label.kind
        first, last = min(seen), max(seen) + 1
        answers = baselines.answers(self._model, first, last)
        start = baselines.windows.start
        truths = baselines.truths[first - start : last - start]
        errors = errors_of(kind, answers, truths)
        unit = 1.0
        if kind is LabelKind.REGRESSION:
            unit = baselines.result(self._model).metrics.get("mae") or 1.0
        fired = False
        for event in seen:
            error = min(float(errors[event - first]) / unit, LONGEST_ERROR)
            if error != error:
                continue
            self._detector, change = adwin.update(
                self._detector, error, Instant(int(baselines.recording.event_times[event]))
            )
            fired = fired or change is not None
        return fired
