"""The measurement: every contender in turn, round after round, each time started anew, alone on its core."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run

import grpc
from benchmarks.serving import load, open_inference
from benchmarks.serving.contenders import Contender, Place
from benchmarks.serving.environments import EnvironmentMissingError, environment
from benchmarks.serving.figures import REST, Load, Paced, Sample, Turn
from benchmarks.serving.load import Target
from benchmarks.serving.processes import ContenderFailedError, PinnedServer
from benchmarks.serving.settings import SERVER_CORE, Settings
from benchmarks.serving.stage import Stage
from benchmarks.serving.workload import NAME, Workload, numbers_in
from google.protobuf.message import DecodeError

from millrace_local.ports import free_ports

START_SECONDS = 240.0
WARM_CONCURRENCY = 16
_CHECKED_ROWS = 10
_TOLERANCE = 1e-3
_POLL_SECONDS = 0.2
_SETTLE_SECONDS = 0.3  # what a server does after its answers (logging them) belongs to their cost
_PREPARE_SECONDS = 120
_PORTS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes. `seconds` is of one measurement."""

    rounds: int
    seconds: int
    warm_seconds: int
    half_seconds: int
    concurrencies: tuple[int, ...] = (1, 16, 64)
    priority: tuple[str, ...] = ()  # what is put before the load generator's command


@dataclass(slots=True)
class Answers:
    """Of Millrace: requests that were answered, and different ones found on the stream afterwards.

    A closed loop gives up what is under way at its end, which is logged but not counted as given. The paced client waits
    for every answer: of its requests exactly as many must be logged as were given.
    """

    given: int = 0
    logged: int = 0
    paced_given: int = 0
    paced_logged: int = 0

    @property
    def share(self) -> float | None:
        """Of the answers given, those logged; the smaller of both counts. None when none were given."""
        counts = ((self.given, self.logged), (self.paced_given, self.paced_logged))
        shares = [min(1.0, logged / given) for given, logged in counts if given]
        return min(shares) if shares else None


def _say(line: str) -> None:
    print(line, flush=True)


@dataclass(slots=True)
class Session:
    """One run of the benchmark."""

    settings: Settings
    plan: Plan
    workload: Workload
    stage: Stage
    folder: Path
    model: Path
    say: Callable[[str], None] = _say
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)

    def play(self, contenders: Sequence[Contender]) -> None:
        """All rounds. A peer that can't be measured is left out from then on, and named with the reason."""
        for number in range(1, self.plan.rounds + 1):
            for contender in contenders:
                if contender.name in self.skipped:
                    continue
                self.say(f"round {number}: {contender.title}")
                try:
                    turn = self.turn(contender, number)
                except (ContenderFailedError, EnvironmentMissingError) as error:
                    if contender.is_needed:
                        raise
                    if contender.is_ours:
                        self.stage.count_new()  # belongs to no turn
                    self.skipped[contender.name] = str(error)
                    self.turns.pop(contender.name, None)
                    self.say(f"  left out: {error}")
                    continue
                self.turns.setdefault(contender.name, []).append(turn)

    def turn(self, contender: Contender, number: int) -> Turn:
        """Start it, see that it answers right, warm it up, measure it, end it. Raises ContenderFailedError."""
        with self._started(contender, number) as (server, target):
            asked = _Asked(contender, target, self.workload, server)
            asked.wait_until_right(START_SECONDS)
            server.pin()
            asked.load(WARM_CONCURRENCY, self.plan.warm_seconds)
            samples = {
                level: self._sample(asked, server, level) for level in self.plan.concurrencies
            }
            if contender.is_ours:
                self.answers.given += asked.answered
                self.answers.logged += self.stage.count_new()
            turn, answered = Turn(samples), asked.answered
            if contender.protocol == REST:
                turn = Turn(samples, self._half(asked, turn.most / 2))
        if contender.is_ours:
            self.answers.paced_given += asked.answered - answered
            self.answers.paced_logged += self.stage.count_new()
        return turn

    def _sample(self, asked: "_Asked", server: PinnedServer, level: int) -> Sample:
        before, broker = server.cpu_seconds(), self.stage.broker_cpu_seconds()
        seen = asked.load(level, self.plan.seconds)
        time.sleep(_SETTLE_SECONDS)
        spent = server.cpu_seconds() - before
        broker = self.stage.broker_cpu_seconds() - broker
        server.check()
        sample = Sample(seen, spent, broker if asked.contender.is_ours else 0.0)
        self.say(
            f"  {level:3d} at once {sample.requests_per_second:9,.0f}/s {sample.cpu_us_per_request:9,.1f} us CPU"
            f"   p50 {seen.p50_ms:8.3f} ms   p99 {seen.p99_ms:8.3f} ms"
        )
        return sample

    def _half(self, asked: "_Asked", rate: float) -> Paced:
        seen = asked.paced(rate, self.plan.half_seconds)
        self.say(f"  at {rate:,.0f}/s: p50 {seen.p50_ms:.3f} ms   p99 {seen.p99_ms:.3f} ms")
        return Paced(rate, seen)

    @contextmanager
    def _started(self, contender: Contender, number: int) -> Iterator[tuple[PinnedServer, Target]]:
        folder = self.folder / f"{contender.name}-{number}"
        folder.mkdir()
        place = Place(
            folder=folder,
            ports=free_ports(_PORTS),
            programs=self._programs(contender),
            model=self.model,
            millrace=self.stage.variables,
        )
        variables = self._variables(contender, place)
        command = contender.prepare(place)
        if command is not None:
            made = run(
                command, env=variables, capture_output=True, text=True, check=False, timeout=_PREPARE_SECONDS
            )  # fmt: skip
            if made.returncode != 0:
                raise ContenderFailedError(f"{contender.name}: {made.stderr.strip()[-800:]}")
        server = PinnedServer(
            contender.name, contender.command(place), variables, SERVER_CORE, folder / "log"
        )
        bodies = self._bodies(contender)
        with server:
            port = place.ports[contender.listens_at]
            yield server, Target(port, contender.path, bodies, self.plan.priority)

    def _programs(self, contender: Contender) -> Path:
        if contender.environment is None:
            return Path()
        return environment(contender.environment, self.settings.folder) / "bin"

    def _variables(self, contender: Contender, place: Place) -> dict[str, str]:
        """The same for all: one thread for each library that would start one per core it believes to have."""
        path = (
            f"{place.programs}:{self.settings.path}"
            if contender.environment
            else self.settings.path
        )
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        common = {**self.settings.inherited, **threads, "PATH": path, "PYTHONUNBUFFERED": "1"}
        return common | dict(contender.variables(place))

    def _bodies(self, contender: Contender) -> tuple[bytes, ...]:
        if contender.protocol == REST:
            return tuple(contender.body(row) for row in self.workload.lists())
        return tuple(
            open_inference.request(NAME, contender.tensor, row) for row in self.workload.rows
        )


class _Asked:
    """A started contender, asked by one of the load generators. `answered` counts what it has answered."""

    def __init__(
        self, contender: Contender, target: Target, workload: Workload, server: PinnedServer
    ) -> None:
        self.contender = contender
        self.answered = 0
        self._target = target
        self._workload = workload
        self._server = server
        self._answer_bytes = 0

    def wait_until_right(self, within: float) -> None:
        """Return once its answers are the model's. Raises ContenderFailedError when they are others', or none come."""
        deadline = time.monotonic() + within
        while (failure := self._ask(0)) is not None:
            self._server.check()
            if time.monotonic() > deadline:
                raise self._server.failure(f"does not answer within {within:g} s ({failure})")
            time.sleep(_POLL_SECONDS)
        for number in range(1, _CHECKED_ROWS):
            failure = self._ask(number)
            if failure is not None:
                raise self._server.failure(f"refuses row {number}: {failure}")

    def load(self, concurrency: int, seconds: int) -> Load:
        if self.contender.protocol == REST:
            return self._counted(load.rest(self._target, concurrency, seconds))
        return self._counted(load.grpc(self._target, concurrency, seconds, self._answer_bytes))

    def paced(self, rate: float, seconds: float) -> Load:
        return self._counted(load.paced(self._target, rate, seconds))

    def _counted(self, seen: Load) -> Load:
        self._server.check()
        if not seen.requests:
            raise self._server.failure("answered nothing")
        self.answered += seen.requests - seen.errors
        return seen

    def _ask(self, number: int) -> str | None:
        """Why there is no answer; None when it is right."""
        body = self._target.bodies[number]
        asking = _post if self.contender.protocol == REST else _call
        try:
            answer, numbers = asking(self._target, body)
        except _NoAnswerError as error:
            return str(error)
        self.answered += 1
        self._answer_bytes = len(answer)
        expected = float(self._workload.expected[number])
        if not self.contender.constant and not any(
            abs(found - expected) < _TOLERANCE for found in numbers
        ):
            raise ContenderFailedError(
                f"{self.contender.name} answers {numbers} where the model says {expected}"
            )
        return None


class _NoAnswerError(Exception):
    """Not yet, or not at all."""


def _post(target: Target, body: bytes) -> tuple[bytes, list[float]]:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        connection.request("POST", target.path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswerError(str(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise _NoAnswerError(f"status {response.status}: {content[:300]!r}")
    return content, numbers_in(json.loads(content))


def _call(target: Target, body: bytes) -> tuple[bytes, list[float]]:
    with grpc.insecure_channel(f"127.0.0.1:{target.port}") as channel:
        method = channel.unary_unary(open_inference.METHOD)
        try:
            answer: bytes = method(body, timeout=10)
        except grpc.RpcError as error:
            raise _NoAnswerError(f"{error.code()}: {error.details()}") from error
    try:
        return answer, open_inference.numbers_of(answer)
    except DecodeError:  # a floor's constant
        return answer, []
