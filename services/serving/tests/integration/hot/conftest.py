"""An instance of serving on a model that both ways of answering understand."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from millrace_contracts.message import Outgoing
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.answers import Scores
from millrace_serving.domain.columns import Columns, Rows, Signature
from millrace_serving.domain.events import PipelineApplied
from millrace_serving.entrypoints.general import Infer
from millrace_serving.entrypoints.infer import HotPath
from millrace_testkit.clock import FixedClock
from millrace_testkit.memory import MemoryBroker

NOON = 1_764_000_000_123_456
CLASSES = ("bus", 'tr"äm', "walk")


@dataclass
class RowModel:
    """Both ways of scoring, from one rule: what it answers depends on every column."""

    signature: Signature
    version: int
    platform: str = "fake_fake"
    memory: int = 1_000
    calls: list[str] = field(default_factory=list)

    def _raw(self, numbers: np.ndarray, categories) -> list[float]:
        with np.errstate(all="ignore"):
            told = float(np.nan_to_num(numbers, nan=0.25).astype(np.float32).sum(dtype=np.float32))
        told += self.version + sum(map(len, categories))
        if self.signature.kind is LabelKind.REGRESSION:
            return [told]
        if self.signature.kind is LabelKind.BINARY:
            part = float(np.float32(abs(told) % 1.0))
            return [1.0 - part, part]
        return [float(np.float32(abs(told) * turn % 1.0)) for turn in range(1, len(CLASSES) + 1)]

    def score(self, rows: Rows) -> Scores:
        self.calls.append("general")
        raw = np.array([self._raw(*row) for row in zip(rows.numbers, rows.categories, strict=True)])
        if self.signature.kind is LabelKind.MULTICLASS:
            return Scores(probabilities=raw)
        return Scores(values=raw[:, -1])

    def for_rows(self) -> "RowModel":
        return _ForRows(self)


class _ForRows:
    """Without a reference to the model, as the real one."""

    def __init__(self, model: RowModel) -> None:
        self._twin = RowModel(model.signature, model.version)
        self._calls = model.calls

    def score(self, numbers: np.ndarray, categories) -> list[float]:
        self._calls.append("hot")
        return self._twin._raw(numbers, categories)


class Way:
    """One instance of serving on a model, whose publisher keeps what it takes over."""

    def __init__(self, pipeline, champion, classes=()) -> None:
        self.broker = MemoryBroker()
        self.publisher = BusPublisher(
            self.broker, WIRE, instance="serving-0", started=1, chance=lambda: 0.5
        )
        signature = Signature(Columns.of(pipeline), pipeline.label.kind, classes)
        self.model = RowModel(signature, champion.version)
        self.pipelines, self.deployments, clock = Pipelines(), Deployments(), FixedClock(NOON)
        self.pipelines.apply(PipelineApplied(pipeline.name, (pipeline,)))
        self.deployments.swap(Deployment(champion, self.model))
        self.statistics = Statistics(clock, itertools.count().__next__)
        self.inference = Inference(
            self.pipelines, self.deployments, self.publisher, clock, "serving-0", self.statistics
        )
        self.plans = Plans(
            self.pipelines,
            self.deployments,
            self.publisher,
            self.inference.new_id,
            clock,
            self.statistics,
        )
        self.infer = Infer(self.inference, lambda: True)
        self.serving = HotPath(self.infer, None, self.plans, self.inference, lambda: True)

    def promote(self, champion) -> None:
        """A model like the one before takes over, as this champion."""
        self.deployments.swap(
            Deployment(champion, RowModel(self.model.signature, champion.version))
        )

    def written(self) -> list[Outgoing]:
        return self.publisher._backlog.oldest(1_000)[0]

    async def ask(self, content: bytes, *, by_plan: bool, headers=(), pieces: int = 1):
        """Status, headers and body of the answer."""
        path = f"/v2/models/{next(iter(self.pipelines.names()))}/infer"
        scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
        size = -(-len(content) // pieces) or 1
        parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
        coming = iter([*parts[:-1]])
        last = iter([parts[-1]])

        async def receive() -> dict:
            part = next(coming, None)
            if part is not None:
                return {"type": "http.request", "body": part, "more_body": True}
            return {"type": "http.request", "body": next(last), "more_body": False}

        if not by_plan:
            reply = await self.infer.reply(path.split("/")[3], None, headers, receive)
            return reply.status, reply.headers, reply.body
        sent: list[dict] = []

        async def send(message: dict) -> None:
            sent.append(message)

        await self.serving(scope, receive, send)
        *more, (name, length) = sent[0]["headers"]
        assert (name, int(length)) == (b"content-length", len(sent[1]["body"]))
        return sent[0]["status"], tuple(more), sent[1]["body"]


@pytest.fixture
def make_way(make_pipeline, make_champion):
    def make(kind: str = "regression", fields: str = "temp: float, hum: float, weather: category"):
        classes = CLASSES if kind == "multiclass" else ()
        pipeline = make_pipeline(kind=kind, fields=fields)
        return Way(pipeline, make_champion(3, 4), classes)

    return make
