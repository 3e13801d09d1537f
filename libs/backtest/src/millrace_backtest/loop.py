"""The closed loop over a recording: the hearts of serving, monitoring, training and registry, and a clock that they share.

Time is the recording's. A run that was asked for learns from what was known at that moment; its candidate is there when
the training latency is over, and answers from the next event on if the registry lets it.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millrace_backtest import books
from millrace_backtest.answering import Answering, Answers, before_any_model, empty
from millrace_backtest.candidates import Costs, candidate_of, dataset_of
from millrace_backtest.fits import Request, Trainer
from millrace_backtest.recording import Recording, Told
from millrace_backtest.wires import Wires
from millrace_kernel.ids import ModelVersionNumber, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_monitoring.adapters.wire import WIRE as MONITORING
from millrace_monitoring.application import handlers as monitoring
from millrace_monitoring.domain import events as of_monitoring
from millrace_monitoring.domain.pipelines import watched
from millrace_registry.adapters.wire import WIRE as REGISTRY
from millrace_registry.application import handlers as registry
from millrace_registry.domain import events as of_registry
from millrace_training.adapters.fitting.job import FitError, FitResult
from millrace_training.adapters.wire import WIRE as TRAINING
from millrace_training.application import handlers as training
from millrace_training.domain import events as of_training
from millrace_training.domain.changes import change_to_learn_from

_AHEAD = (
    2_000  # events that a champion answers in one go; answers it never gets to give are thrown away
)
_NO_PLACE = of_training.Place("", 0, 0)
Done = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LoopRun:
    """One training that the policy asked for. `ended` None: the recording was over first."""

    number: int
    trigger: str
    because: str
    asked: Instant
    ended: Instant | None
    outcome: str  # promoted, rejected, failed, in vain, unfinished
    detail: str
    train_rows: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class LoopResult:
    """`answers` to every event of the recording; `skipped` counts the causes that no run was started for, by reason."""

    answers: Answers
    runs: tuple[LoopRun, ...]
    skipped: Mapping[str, int]
    drifts: int

    def outcomes(self, outcome: str) -> int:
        return sum(run.outcome == outcome for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return sum(run.cpu_seconds for run in self.runs)


@dataclass(frozen=True, slots=True)
class _Origin:
    id: str


@dataclass(frozen=True, slots=True)
class _Champion:
    version: ModelVersionNumber
    epoch: int
    artifact: bytes
    model: Answering


@dataclass(slots=True)
class Loop:
    """Plays a policy over a recording, once."""

    recording: Recording
    pipeline: Pipeline
    trainer: Trainer
    costs: Costs
    done: Done = lambda _: None

    _champion: _Champion | None = None
    _going: list[tuple[int, int, of_training.RetrainRequested]] = field(default_factory=list)
    _results: dict[RunId, FitResult] = field(default_factory=dict)
    _runs: dict[RunId, LoopRun] = field(default_factory=dict)
    _compared: dict[RunId, int] = field(
        default_factory=dict
    )  # the champion that a run was measured beside
    _ahead: tuple[int, int, list[Any]] = (0, 0, [])
    _drifts: int = 0
    _wires: Wires = field(init=False)
    _training: books.TrainingBooks = field(init=False)
    _ports: tuple[books.WatchedPipelines, books.References, books.Monitors, books.Joins] = field(
        init=False
    )
    _versions: books.Versions = field(init=False)

    def __post_init__(self) -> None:
        self._wires = Wires((TRAINING, REGISTRY, MONITORING))
        self._training = books.TrainingBooks(
            books.TrainingPipelines(self.pipeline),
            books.Lake(),
            books.LabelledRows(),
            books.Journal(),
        )
        kept = books.MonitoringBooks(watched(self.pipeline, (), None))
        self._ports = (
            books.WatchedPipelines(kept),
            books.References(kept),
            books.Monitors(kept),
            books.Joins(kept),
        )
        self._versions = books.Versions(self.pipeline.name)

    def play(self) -> LoopResult:
        recording, labels = self.recording, self.recording.labels
        given: list[Any] = []
        for step, place in enumerate(recording.steps):
            at = (
                Instant(int(recording.recorded_at[place]))
                if place >= 0
                else labels[~place].recorded_at
            )
            self._end_runs(at)
            if place >= 0:
                given.append(self._on_event(place, at))
            else:
                self._on_label(labels[~place])
            if not step % 1_000:
                self.done(step)
        answers = empty(self.pipeline.label.kind, len(recording))
        answers[:] = given
        skipped = self._training.journal.skipped
        return LoopResult(
            answers, tuple(self._runs.values()), dict(sorted(skipped.items())), self._drifts
        )

    # ------------------------------------------------------------------------------------------------ what is recorded

    def _on_event(self, place: int, at: Instant) -> Any:  # noqa: ANN401  a number or a class
        recording, name = self.recording, self.pipeline.name
        event_id, happened_at = (
            recording.event_ids[place],
            Instant(int(recording.event_times[place])),
        )
        numbers, answer = self._answered(place)
        texts, champion = recording.categories[place], self._champion
        vector = of_training.FeaturesComputed(
            name, self.pipeline.version, event_id, recording.entities[place], happened_at, numbers, texts, at, _NO_PLACE
        )  # fmt: skip
        self._decided(training.on_features(vector, self._training, _Origin(event_id)))
        prediction = of_monitoring.PredictionMade(
            id=event_id,
            pipeline=name,
            pipeline_version=self.pipeline.version,
            event_id=event_id,
            event_time=happened_at,
            recorded_at=at,
            model_version=champion.version if champion else ModelVersionNumber(0),
            epoch=champion.epoch if champion else 0,
            role=of_monitoring.Role.CHAMPION if champion else of_monitoring.Role.FALLBACK,
            answer=_said(answer),
            numbers=numbers,
            categories=texts,
        )
        pipelines, references, monitors, joins = self._ports
        self._noticed(
            monitoring.on_prediction(prediction, pipelines, references, monitors, joins), at
        )
        return answer

    def _answered(self, place: int) -> tuple[tuple[float, ...], Any]:
        """The vector and what the champion says of it; scored ahead in one go, until there is another champion."""
        begin, end, rows = self._ahead
        if not begin <= place < end:
            begin, end = place, min(place + _AHEAD, len(self.recording))
            vectors = [tuple(row) for row in self.recording.numbers[begin:end].tolist()]
            if self._champion is not None:
                given = self._champion.model.over(self.recording, begin, end).tolist()
            else:
                texts = self.recording.categories
                given = [
                    before_any_model(self.pipeline, vector, texts[begin + place])
                    for place, vector in enumerate(vectors)
                ]
            rows = list(zip(vectors, given, strict=True))
            self._ahead = (begin, end, rows)
        vector, answer = rows[place - begin]
        return vector, answer

    def _on_label(self, told: Told) -> None:
        name, at = self.pipeline.name, told.recorded_at
        pipelines, references, monitors, joins = self._ports
        origin = _Origin(f"label/{told.event_id}")
        if told.value is None:
            gone = of_training.LabelRetracted(name, told.event_id, told.known_at, at, _NO_PLACE)
            self._decided(training.on_label_retracted(gone, self._training, origin))
            taken_back = of_monitoring.LabelRetracted(origin.id, name, told.event_id)
            self._noticed(monitoring.on_label_retracted(taken_back, pipelines, monitors, joins), at)
            return
        label = of_training.LabelObserved(
            name, told.event_id, told.known_at, told.value, at, _NO_PLACE
        )
        self._decided(training.on_label(label, self._training, origin))
        truth = of_monitoring.LabelObserved(origin.id, name, told.event_id, at, told.value)
        self._noticed(monitoring.on_label(truth, pipelines, references, monitors, joins), at)

    # --------------------------------------------------------------------------------------- what follows from it

    def _noticed(self, said: Iterator[of_monitoring.Event], at: Instant) -> None:
        """What monitoring says goes to training, as training would hear it."""
        for event in said:
            heard = self._wires.carry(event, MONITORING, at)[0]
            match heard:
                case of_training.DriftDetected():
                    self._drifts += 1
                    self._decided(training.on_drift(heard, self._training, _Origin(_id_of(event))))
                case of_training.PerformanceDegraded():
                    self._decided(
                        training.on_performance(heard, self._training, _Origin(_id_of(event)))
                    )
                case of_training.DriftCleared():
                    training.on_drift_cleared(heard, self._training)
                case _:
                    pass  # alerts, and whatever else training does not listen to

    def _decided(self, said: Iterator[of_training.Event]) -> None:
        for event in said:
            if isinstance(event, of_training.RetrainRequested):
                run = event.run
                ends = run.as_of + self.costs.latency
                heapq.heappush(self._going, (ends, run.number, event))
                self._runs[run.run_id] = LoopRun(
                    run.number, run.trigger.value, event.detail, run.as_of, None, "unfinished", "", 0, 0.0
                )  # fmt: skip
                self._fit(event)

    def _fit(self, event: of_training.RetrainRequested) -> None:
        """At once, for what was known by now and the champion of now; what comes of it is told when its time has come."""
        champion = self._champion
        run = event.run
        change = self._training.pipelines.history(self.pipeline.name).change
        request = Request(
            run.as_of,
            champion.artifact if champion else None,
            run.trigger,
            change_to_learn_from(change, run.trigger, self.pipeline.retraining.on),
        )
        self._compared[run.run_id] = champion.version if champion else 0
        try:
            result = self.trainer.run(self.pipeline, request)
        except FitError as error:
            self._note(run.run_id, outcome="failed", detail=str(error))
            return
        self._results[run.run_id] = result
        self._note(run.run_id, train_rows=result.train_rows, cpu_seconds=result.cpu_seconds)

    def _end_runs(self, at: Instant) -> None:
        while self._going and self._going[0][0] <= at:
            ends, _, event = heapq.heappop(self._going)
            self._end(event, Instant(ends))

    def _end(self, event: of_training.RetrainRequested, at: Instant) -> None:
        run = event.run
        result = self._results.get(run.run_id)
        if result is None:
            failed = of_training.RunFailed(
                run, self._runs[run.run_id].detail, self.costs.cpu_seconds
            )
            for _ in training.on_run_failed(failed, self._training):
                self._note(run.run_id, ended=at)
            return
        candidate = candidate_of(self.pipeline, result, self._compared[run.run_id], self.costs)
        finished = of_training.RunFinished(run, dataset_of(run, result), candidate)
        self._note(run.run_id, ended=at)
        for said in training.on_run_finished(finished, self._training):
            if isinstance(said, of_training.TrainingFailed):
                self._note(run.run_id, outcome="in vain", detail=said.reason)
            for heard in self._wires.carry(said, TRAINING, at):
                if isinstance(heard, of_registry.TrainingCompleted):
                    self._register(heard, at)

    def _register(self, completed: of_registry.TrainingCompleted, at: Instant) -> None:
        pipelines = books.RegistryPipelines(self.pipeline)
        changes = registry.on_training_completed(
            completed, pipelines, self._versions, books.Seals()
        )
        for change in list(changes):
            self._changed(change, completed, at)

    def _changed(
        self, change: of_registry.Change, completed: of_registry.TrainingCompleted, at: Instant
    ) -> None:
        run_id = completed.run_id
        match change:
            case of_registry.ApprovalRequested(version=version):
                approve = of_registry.ApprovePromotion(
                    self.pipeline.name, version, "backtest", "nobody is here to be asked", f"approve/{version}", at
                )  # fmt: skip
                pipelines = books.RegistryPipelines(self.pipeline)
                for following in list(registry.on_approve(approve, pipelines, self._versions)):
                    self._changed(following, completed, at)
                return
            case of_registry.ModelPromoted():
                self._install(change, run_id)
                self._note(run_id, outcome="promoted", detail=_verdicts(change.verdicts))
            case of_registry.ModelRejected(reason=reason):
                self._note(run_id, outcome="rejected", detail=reason)
            case _:
                pass
        to_training, _, to_monitoring = self._wires.carry(change, REGISTRY, at)
        self._told_training(to_training)
        if isinstance(to_monitoring, of_monitoring.ModelPromoted):
            pipelines_, references, monitors, _ = self._ports
            self._noticed(
                monitoring.on_champion(to_monitoring, pipelines_, references, monitors), at
            )

    def _told_training(self, heard: object) -> None:
        match heard:
            case of_training.ModelPromoted():
                training.on_promoted(heard, self._training)
            case of_training.ModelRejected():
                training.on_rejected(heard, self._training)
            case _:
                pass

    def _install(self, promoted: of_registry.ModelPromoted, run_id: RunId) -> None:
        artifact = self._results[run_id].artifact
        self._champion = _Champion(
            promoted.model.version, promoted.epoch, artifact, Answering.of(artifact)
        )
        self._ahead = (0, 0, [])

    def _note(self, run_id: RunId, **changed: Any) -> None:  # noqa: ANN401  fields of LoopRun
        self._runs[run_id] = replace(self._runs[run_id], **changed)


def _said(answer: Any) -> float | str | None:  # noqa: ANN401  a number or a class
    missing = answer == "" or answer != answer
    return None if missing else answer


def _id_of(event: of_monitoring.Event) -> str:
    return str(getattr(event, "id", ""))


def _verdicts(verdicts: tuple[of_registry.Verdict, ...]) -> str:
    return "; ".join(f"{verdict.gate}: {verdict.evidence}" for verdict in verdicts)
