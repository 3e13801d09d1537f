"""One pipeline on a real stack: what is sent to it, and what came of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import httpx2
import numpy as np
from onnx import ModelProto
from tests.challengers.candidates import Trainer

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.outputs import Outputs
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Message
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import rfc3339
from millrace_proto.v1.predictions_pb2 import PredictionMade, PredictionRole
from millrace_proto.v1.training_pb2 import TrainingCompleted
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import everything
from millrace_testkit.stack import Stack

ENTITIES = 200
FIRST = 60  # events that the first model learns from
ROWS, PAUSE_SECONDS = 20, 0.1  # of the stream
SECONDS = 180.0  # of waiting for anything, on a busy machine
PIPELINE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {name}, owner: tests, description: a linear law}}
spec:
  event:  {{id: id, time: at, entity: pump}}
  fields: {{load: float}}
  label:  {{field: wear, kind: regression}}
  model:  {{candidates: [linear], train_on: {{last: 150, first: {first}}}, holdout: {{last: 30}}}}
  gates:  [{{metric: mae, max: 1000}}]
  promotion: {promotion}
  retraining: {{on: [schedule], schedule: "0 3 1 1 *"}}
"""
TRAINING = WireTable(
    {},
    [
        Encoder(
            TrainingCompleted,
            "millrace.v1.TrainingCompleted",
            key=lambda proto: proto.pipeline,
            encode=lambda proto: proto.SerializeToString(),
        )
    ],
)
REQUEST = PredictionRole.PREDICTION_ROLE_REQUEST
NOBODY = PredictionRole.PREDICTION_ROLE_CHALLENGER


class Story:
    """One pipeline: what is sent, and what came of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.name = stack, ""
        self.chance = np.random.default_rng(7)
        self.slope = 4.0  # of the law
        self.sent = 0
        self.http = httpx2.AsyncClient(timeout=30)

    async def begin(self, name: str, promotion: str) -> None:
        """The pipeline, and a first champion that has learnt the law."""
        self.name = name
        file = self.stack.home / f"{self.name}.yaml"
        file.write_text(PIPELINE.format(name=self.name, promotion=promotion, first=FIRST))
        await asyncio.to_thread(self.stack.millrace, "apply", file)
        await self.send(FIRST)
        await eventually(lambda: self.answering("1"), within=SECONDS, what="the first champion")

    async def answering(self, version: str) -> bool:
        answer = await self.http.get(f"{self.stack.url('serving')}/v2/models/{self.name}")
        return answer.status_code == 200 and version in answer.json()["versions"][:1]

    async def send(self, count: int, *, is_labelled: bool = True) -> list[dict[str, Any]]:
        """Events of the law, over HTTP; their ids say their order. Returns their labels, which may be sent with them."""
        events, labels = [], []
        for _ in range(count):
            load = float(self.chance.normal())
            wear = 20 + self.slope * load + float(self.chance.normal(0, 0.3))
            event = f"{self.name}-{self.sent}"
            events.append(
                {"id": event, "at": now(), "pump": pump(self.sent), "load": load}
                | ({"wear": wear} if is_labelled else {})
            )
            labels.append({"id": event, "label": wear})
            self.sent += 1
        await self.post("events", events)
        return labels

    async def post(self, what: str, rows: Sequence[dict[str, Any]]) -> None:
        body = "\n".join(json.dumps(row) for row in rows)
        answer = await self.http.post(
            f"{self.stack.url('ingestion')}/v1/pipelines/{self.name}/{what}",
            content=body,
            headers={"content-type": "application/x-ndjson"},
        )
        assert answer.status_code == 202, answer.text

    async def ask(self, entity: str) -> str:
        """The version that answers a request about this entity."""
        answer = await self.http.post(
            f"{self.stack.url('serving')}/v2/models/{self.name}/infer",
            json={
                "parameters": {"entity": entity},
                "inputs": [{"name": "load", "shape": [1], "datatype": "FP64", "data": [1.0]}],
            },
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    @asynccontextmanager
    async def streaming(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Events with their labels, and a request beside each batch, for the length of a block. Gives (entity, version) of
        the requests so far."""
        asked: list[tuple[str, str]] = []

        async def stream() -> None:
            while True:
                await self.send(ROWS)
                entity = pump(int(self.chance.integers(ENTITIES)))
                asked.append((entity, await self.ask(entity)))
                await asyncio.sleep(PAUSE_SECONDS)

        task = asyncio.create_task(stream())
        try:
            yield asked
        finally:
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()

    async def challenge(self, model: ModelProto) -> None:
        """A candidate, announced as training would."""
        loads = self.chance.normal(0, 1, 200).tolist()
        at = SystemClock().now()
        trainer = Trainer(self.stack.home, self.name, "load")
        made = trainer.completed(2, model, loads, at)
        outputs = Outputs(f"test/{self.name}/millrace.training", TRAINING, NO_TRACING)
        cause = Cause(f"cause-{self.name}", at, f"chain-{self.name}")
        broker = KafkaBroker(KafkaSettings(self.stack.bootstrap))
        producer = broker.producer()
        await producer.start()
        try:
            partitions = await producer.partitions("millrace.training")
            place = crc32(self.name.encode()) % partitions
            await producer.send(
                "millrace.training", place, [outputs.record(made, cause, sequence(1, 0), 0)]
            )
        finally:
            await producer.stop()

    async def stages(self) -> dict[int, str]:
        """Of the registry's versions."""
        answer = await self.http.get(
            f"{self.stack.url('registry')}/v1/pipelines/{self.name}/models"
        )
        return {model["version"]: model["stage"] for model in answer.json()}

    async def until(self, version: int, stage: str) -> None:
        async def is_there() -> bool:
            return (await self.stages()).get(version) == stage

        try:
            await eventually(is_there, within=SECONDS, what=f"version {version}: {stage}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.stages()}\n{self.stack.logs()}") from error

    async def heard(self, topic: str, module: Any) -> list[tuple[Message, Any]]:
        """The pipeline's effective messages of one topic."""
        found = []
        for message in await everything(self.stack.bootstrap, topic):
            kind = getattr(module, message.type.rpartition(".")[2])
            proto = kind.FromString(message.value)
            if proto.pipeline == self.name:
                found.append((message, proto))
        return found

    async def predictions(self) -> list[tuple[Message, PredictionMade]]:
        """All that are effective, once everything sent has been answered."""

        async def answers() -> list[tuple[Message, PredictionMade]] | None:
            found = [
                (message, PredictionMade.FromString(message.value))
                for message in await everything(self.stack.bootstrap, "millrace.predictions")
            ]
            mine = [(message, one) for message, one in found if one.pipeline == self.name]
            answered = sum(is_for_users(one) for _, one in mine)
            return mine if answered >= self.sent else None

        return await eventually(answers, within=SECONDS, what="an answer to every event")  # type: ignore[no-any-return]


def now() -> str:
    return rfc3339(SystemClock().now())


def pump(number: int) -> str:
    return f"pump-{number % ENTITIES}"


def is_for_users(one: PredictionMade) -> bool:
    """An answer to an event of the stream, other than a comparison's."""
    return one.role not in (NOBODY, REQUEST)
