"""Candidates made for a test: signed artifacts whose errors are known, announced as training would announce them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, TensorProto, helper

from millrace_artifacts.artifact import Artifact, Learnt, Model, Parity, write_artifact
from millrace_artifacts.keys import local_key
from millrace_artifacts.seal import Statement, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.profile import ReferenceProfile, number_column, to_json
from millrace_kernel.time import Instant
from millrace_proto.v1.training_pb2 import TrainingCompleted


def line(slope: float, bias: float) -> ModelProto:
    """answer = slope x the only column + bias."""
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 1], [slope])
    constant = helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias])
    node = helper.make_node("Gemm", ["input", "weights", "bias"], ["answer"])
    return _model([node], [weights, constant])


def for_single_rows(slope: float) -> ModelProto:
    """answer = slope x the only column, to one row; two rows are more than its multiplication can take.

    So it loads, survives its warm-up, and raises in the first batch.
    """
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 1], [slope])
    return _model([helper.make_node("MatMul", ["weights", "input"], ["answer"])], [weights])


def _model(nodes: Sequence[object], tensors: Sequence[object]) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


@dataclass(frozen=True)
class Trainer:
    """Speaks for training about one pipeline of one number column: writes artifacts below `home`, and signs them with its key."""

    home: Path
    pipeline: str
    column: str

    def completed(
        self, number: int, model: ModelProto, loads: Sequence[float], as_of: Instant
    ) -> TrainingCompleted:
        """What training says of its run `number`; `loads` are values of the column, for the reference profile."""
        stored = ObjectStore(f"file://{self.home}/objects").put(
            f"{self.pipeline}-v{number}.zip", self._artifact(model)
        )
        run = f"run-{self.pipeline}-{number}"
        seal = sealed(
            Statement(self.pipeline, 1, run, stored.sha256), local_key(self.home / "keys")
        )
        profile = ReferenceProfile(
            columns=(number_column(self.column, list(loads)),),
            prediction=number_column("prediction", list(loads)),
            metrics={"mae": 8.0},
            primary_metric="mae",
            rows=len(loads),
        )
        return TrainingCompleted(
            pipeline=self.pipeline, pipeline_version=1, run_id=run, run_number=number, trigger="drift",
            cause_id="drift", algorithm="linear", parameters_json="{}", artifact_uri=stored.uri,
            artifact_sha256=stored.sha256, artifact_signature=seal.signature, signing_key_id=seal.key_id,
            dataset_uri="u", dataset_sha256="s", train_rows=100, holdout_rows=10, metrics={"mae": 8.0},
            reference_profile=to_json(profile), as_of_us=as_of,
        )  # fmt: skip

    def _artifact(self, model: ModelProto) -> bytes:
        signature = Signature(
            self.pipeline, 1, (self.column,), (), (), Encoding.ORDINAL, LabelKind.REGRESSION, ()
        )
        return write_artifact(
            Artifact(
                algorithm="linear",
                parameters="{}",
                model=Model(signature, Parity(0.0, 1e-4, 10), model.SerializeToString(), None),
                measured=None,
                metrics={"mae": 1.0},
                learnt=Learnt(
                    rows=100, since_us=1, until_us=3, holdout_rows=10, measured_until_us=2
                ),
                libraries={},
                examples=(),
            )
        )
