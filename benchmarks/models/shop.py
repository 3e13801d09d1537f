"""The models that are served: made, stored, and written about on a broker in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xgboost

from millrace_artifacts.artifact import Artifact, Learnt, Model, Parity, write_artifact
from millrace_artifacts.keys import local_key
from millrace_artifacts.seal import Statement, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import TopicPartition
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant, rfc3339
from millrace_proto.v1 import models_pb2, pipelines_pb2
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.fitting.algorithms.xgboost_models import FittedXgboost

NOON = Instant(1_764_000_000_000_000)
STEP = 10_000.0  # a version's answers begin at its number times this: an answer tells who gave it
WIDTH, TREES, DEPTH = 28, 100, 6
NAMES = tuple(f"f{place}" for place in range(WIDTH))
FILE = f"""
metadata: {{name: NAME}}
spec:
  event:  {{id: id, time: at}}
  fields: {{{", ".join(f"{name}: float" for name in NAMES)}}}
  label:  {{field: y, kind: regression}}
"""
MODELS, PIPELINES = "millrace.models", "millrace.pipelines"
SEED = 7


class Forgetful(MemoryBroker):
    """Takes predictions, and does not keep them: the memory that is measured is serving's."""

    def append(self, place: TopicPartition, messages: Sequence[Outgoing]) -> None:  # type: ignore[override]
        if place.topic in (MODELS, PIPELINES):
            super().append(place, messages)


class Shop:
    """Makes artifacts, and what is written about them to the bus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(f"file://{folder / 'objects'}")
        self.broker = Forgetful()
        self._key = local_key(folder / "keys")
        self._fitted = {version: _fitted(version) for version in (1, 2)}
        self._exported = {
            version: (fitted.onnx(), fitted.native()) for version, fitted in self._fitted.items()
        }
        self._spec = pipeline_to_json(read_pipeline(FILE.replace("NAME", "pipeline"), version=1))
        self._written = 0

    async def apply(self, names: Sequence[str]) -> None:
        protos = [
            pipelines_pb2.PipelineApplied(
                pipeline=name, version=1, spec_json=self._spec.replace('"pipeline"', f'"{name}"', 1)
            )
            for name in names
        ]
        await self._send(PIPELINES, "PipelineApplied", names, protos)

    async def promote(self, names: Sequence[str], version: int, epoch: int, *, made: bool) -> None:
        """`made`: with an artifact; without, nobody may ask for it."""
        protos = [self._promotion(name, version, epoch, made=made) for name in names]
        await self._send(MODELS, "ModelPromoted", names, protos)

    async def roll_back(self, name: str, version: int, epoch: int) -> None:
        promoted = self._promotion(name, version, epoch, made=True)
        fields = {field.name: value for field, value in promoted.ListFields()}
        known = models_pb2.ModelRolledBack.DESCRIPTOR.fields_by_name
        proto = models_pb2.ModelRolledBack(
            **{field: value for field, value in fields.items() if field in known},
            previous_version=3 - version,
        )
        await self._send(MODELS, "ModelRolledBack", [name], [proto])

    def _promotion(
        self, name: str, version: int, epoch: int, *, made: bool
    ) -> models_pb2.ModelPromoted:
        if made:
            stored = self.store.put(f"models/{name}-{version}.zip", self.artifact(name, version))
            uri, sha256 = stored.uri, stored.sha256
        else:
            uri, sha256 = f"{self.store.url}/models/{name}-{version}.zip", "0" * 64
        seal = sealed(Statement(name, 1, f"run-{version}", sha256), self._key)
        return models_pb2.ModelPromoted(
            pipeline=name,
            pipeline_version=1,
            version=version,
            epoch=epoch,
            run_id=f"run-{version}",
            artifact_uri=uri,
            artifact_sha256=sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
        )

    def artifact(self, name: str, version: int) -> bytes:
        """All that training ships: the model in both forms, and the measured one beside it."""
        signature = Signature(
            name, 1, NAMES, (), (), Encoding.ORDINAL, LabelKind.REGRESSION, classes=()
        )
        onnx, native = self._exported[version]
        model = Model(signature, Parity(0.0, 1e-3, 10), onnx, native)
        return write_artifact(
            Artifact(
                algorithm="xgboost",
                parameters="{}",
                model=model,
                measured=replace(model, native=None),
                metrics={"mae": 1.0},
                learnt=Learnt(1_000, 1, 3, 100, 2),
                libraries={},
                examples=(),
            )
        )

    async def _send(
        self, topic: str, kind: str, keys: Sequence[str], protos: Sequence[object]
    ) -> None:
        records = []
        for key, proto in zip(keys, protos, strict=True):
            self._written += 1
            headers = [
                ("ce_id", f"m{self._written}".encode()),
                ("ce_source", b"millrace/benchmark"),
                ("ce_type", f"millrace.v1.{kind}".encode()),
                ("ce_sequence", b"%016d" % self._written),
                ("ce_recordedtime", rfc3339(NOON).encode()),
            ]
            value = proto.SerializeToString()  # type: ignore[attr-defined]
            records.append(Outgoing(topic, key.encode(), value, headers))
        self.broker.append(TopicPartition(topic, 0), records)


def _fitted(version: int) -> FittedXgboost:
    generator = np.random.default_rng(SEED)
    matrix = generator.normal(size=(4_000, WIDTH)).astype(np.float32)
    targets = version * STEP + matrix[:, 0] * 3 + np.sin(3 * matrix[:, 1]) * matrix[:, 2]
    settings = {
        "max_depth": DEPTH,
        "tree_method": "hist",
        "nthread": 1,
        "base_score": version * STEP,
    }
    booster = xgboost.train(settings, xgboost.QuantileDMatrix(matrix, targets), TREES)
    return FittedXgboost(booster, WIDTH)
