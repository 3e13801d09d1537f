"""A recording, one or more policies, and what each would have done beside the baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from millrace_backtest.answering import Answers, empty
from millrace_backtest.baselines import Baselines, Played, Windows, windows_of
from millrace_backtest.candidates import Costs
from millrace_backtest.errors import BacktestError
from millrace_backtest.fits import FitStore, Trainer
from millrace_backtest.loop import Loop, LoopResult
from millrace_backtest.recording import Recording, truths
from millrace_backtest.scoring import gain, is_something, measured, metric_of
from millrace_kernel.pipeline import Pipeline, Strategy
from millrace_kernel.time import MINUTE, Duration, Instant, rfc3339

BASELINES = ("frozen", "every", "periodic", "adwin")
Progress = Callable[[str, int], None]  # what is being done, and how much of it


@dataclass(frozen=True, slots=True)
class Settings:
    """`latency`: how long a run takes in recorded time. `run_cpu_seconds`: what the policy's budget counts for a run."""

    windows: int = 50
    latency: Duration = MINUTE
    run_cpu_seconds: float = 2.0
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A pipeline whose file says how it is retrained."""

    name: str
    pipeline: Pipeline


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one policy, and of the baselines beside it: answers to the events from the first model on."""

    name: str
    metric: str
    loop: LoopResult
    answers: Answers
    baselines: dict[str, Played]


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    recording: Recording
    settings: Settings
    windows: Windows
    truths: Answers  # of the events from the first model on; NaN or "" where there is none
    outcomes: tuple[Outcome, ...]


def backtest(
    recording: Recording,
    policies: Sequence[NamedPolicy],
    store: FitStore,
    settings: Settings,
    progress: Progress = lambda _what, _done: None,
) -> Backtest:
    """Play every policy and the baselines. Raises BacktestError."""
    trainer = Trainer(recording, store)
    pipeline = recording.pipeline
    metric = metric_of(pipeline, settings.metric)
    windows = windows_of(recording, settings.windows, settings.latency)
    truth = _truths(recording, windows)
    baselines = Baselines(
        recording, pipeline, trainer, windows, settings.latency, truth, lambda: progress("fits", 1)
    )
    fixed = {name: getattr(baselines, name)() for name in ("frozen", "every", "adwin")}
    costs = Costs(settings.latency, settings.run_cpu_seconds)
    outcomes = []
    for policy in policies:
        loop = Loop(
            recording, _at_once(policy.pipeline), trainer, costs, lambda n: progress("loop", n)
        )
        played = loop.play()
        beside = fixed | {"periodic": baselines.periodic(played.cpu_seconds)}
        answers = played.answers[windows.start :]
        outcomes.append(Outcome(policy.name, metric, played, answers, beside))
    return Backtest(recording, settings, windows, truth, tuple(outcomes))


def _at_once(pipeline: Pipeline) -> Pipeline:
    """Challengers are not compared on live traffic here yet: what passes its gates is promoted."""
    if pipeline.promotion.strategy is Strategy.MANUAL:
        return pipeline
    return replace(pipeline, promotion=replace(pipeline.promotion, strategy=Strategy.DIRECT))


def _truths(recording: Recording, windows: Windows) -> Answers:
    found = empty(recording.pipeline.label.kind, len(recording))
    for place, value in truths(recording).items():
        found[place] = value
    return found[windows.start :]


def report(done: Backtest) -> dict[str, Any]:
    """As `millrace backtest -o json` prints it. The same backtest gives the same report."""
    recording, settings = done.recording, done.settings
    return {
        "pipeline": recording.pipeline.name,
        "events": len(recording),
        "scored": int(_labelled(done).sum()),
        "refused": recording.refused.count,
        "first_model_at": rfc3339(done.windows.first_at),
        "windows": settings.windows,
        "latency_seconds": settings.latency / 1_000_000,
        "policies": [_policy(done, outcome) for outcome in done.outcomes],
    }


def _policy(done: Backtest, outcome: Outcome) -> dict[str, Any]:
    scores = {name: _score(done, outcome, answers) for name, answers in _answers(outcome).items()}
    loop, frozen, every = scores["loop"], scores["frozen"], scores["every"]
    result, baselines = outcome.loop, outcome.baselines
    return {
        "name": outcome.name,
        "metric": outcome.metric,
        **scores,
        "gain_captured": gain_captured(outcome.metric, loop, frozen, every),
        "retrains": max(0, len(result.runs) - 1),  # beside the first model, which all have
        "promotions": result.outcomes("promoted"),
        "rejected": result.outcomes("rejected"),
        "failed": result.outcomes("failed"),
        "skipped": dict(result.skipped),
        "drifts": result.drifts,
        "cpu_seconds": result.cpu_seconds,
        **{f"{name}_retrains": baselines[name].retrains for name in BASELINES[1:]},
        **{f"{name}_cpu_seconds": baselines[name].cpu_seconds for name in BASELINES},
        "runs": [
            {
                "number": run.number,
                "trigger": run.trigger,
                "because": run.because,
                "asked": rfc3339(run.asked),
                "ended": rfc3339(run.ended) if run.ended is not None else None,
                "outcome": run.outcome,
                "detail": run.detail,
                "train_rows": run.train_rows,
                "cpu_seconds": run.cpu_seconds,
            }
            for run in result.runs
        ],
        "series": list(_series(done, outcome)),
    }


def _answers(outcome: Outcome) -> dict[str, Answers]:
    return {"loop": outcome.answers} | {name: outcome.baselines[name].answers for name in BASELINES}


def gain_captured(
    metric: str, loop: float | None, frozen: float | None, every: float | None
) -> float | None:
    """The share of *every*'s gain over *frozen* that the policy has; None when there was nothing to be gained."""
    if loop is None or frozen is None or every is None:
        return None
    won = gain(metric, every, frozen)
    return gain(metric, loop, frozen) / won if is_something(metric, won, frozen) else None


def _labelled(done: Backtest) -> Any:  # noqa: ANN401  a mask
    if done.recording.pipeline.label.kind.is_text:
        return done.truths != ""
    return np.isfinite(done.truths)


def _score(
    done: Backtest, outcome: Outcome, answers: Answers, start: int = 0, stop: int | None = None
) -> float | None:
    there = _labelled(done)[start:stop]
    kind = done.recording.pipeline.label.kind
    return measured(
        kind, outcome.metric, answers[start:stop][there], done.truths[start:stop][there]
    )


def _series(done: Backtest, outcome: Outcome) -> Any:  # noqa: ANN401  an iterator of JSON objects
    """The prequential metric: of each window, and of all events up to its end."""
    first, borders = done.windows.start, done.windows.borders
    every = _answers(outcome)
    for start, stop in pairwise(borders):
        begin, end = start - first, stop - first
        yield {
            "until": rfc3339(Instant(int(done.recording.recorded_at[stop - 1]))),
            "events": end,
            "window": {
                name: _score(done, outcome, each, begin, end) for name, each in every.items()
            },
            "so_far": {name: _score(done, outcome, each, 0, end) for name, each in every.items()},
        }


__all__ = ["Backtest", "BacktestError", "NamedPolicy", "Settings", "backtest", "report"]
