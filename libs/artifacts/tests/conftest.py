"""Small models written by hand in ONNX, so that these tests need no training library."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from millrace_artifacts.artifact import (
    Artifact,
    Example,
    Learnt,
    Model,
    Parity,
)
from millrace_artifacts.signature import Encoding, Signature
from millrace_kernel.pipeline import LabelKind

EXACT = Parity(largest_difference=0.0, tolerance=1e-4, rows=10)


def linear_onnx(weights: list[float], intercept: float) -> bytes:
    """answer = rows @ weights + intercept"""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "weights", "intercept"], ["answer"])],
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [len(weights), 1], weights),
            helper.make_tensor("intercept", TensorProto.FLOAT, [1], [intercept]),
        ],
    )
    opsets = [helper.make_opsetid("", 15)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def softmax_onnx(width: int, classes: int) -> bytes:
    """Probabilities by the softmax of the first columns: the largest of them is the class."""
    weights = np.eye(width, classes, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [width, classes], weights.ravel())],
    )
    opsets = [helper.make_opsetid("", 15)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def a_signature(**changes: object) -> Signature:
    fields: dict[str, object] = {
        "pipeline": "bikes",
        "pipeline_version": 3,
        "numbers": ("temp", "hum"),
        "categories": ("weather",),
        "vocabularies": (("clear", "rain"),),
        "encoding": Encoding.ORDINAL,
        "label_kind": LabelKind.REGRESSION,
        "classes": (),
    }
    return Signature(**(fields | changes))  # type: ignore[arg-type]


def a_model(**changes: object) -> Model:
    """hired = 100 * temp - 10 * hum - 50 * weather + 20"""
    fields: dict[str, object] = {
        "signature": a_signature(),
        "parity": EXACT,
        "onnx": linear_onnx([100.0, -10.0, -50.0], 20.0),
        "native": None,
    }
    return Model(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def softmax_of() -> Callable[[int, int], bytes]:
    return softmax_onnx


@pytest.fixture
def an_artifact() -> Callable[..., Artifact]:
    def build(**changes: object) -> Artifact:
        fields: dict[str, object] = {
            "algorithm": "linear",
            "parameters": '{"alpha":1.0}',
            "model": a_model(),
            "measured": a_model(onnx=linear_onnx([90.0, -9.0, -45.0], 18.0)),
            "metrics": {"rmse": 2.5, "mae": 1.5},
            "learnt": Learnt(
                rows=100, since_us=1_000, until_us=2_000, holdout_rows=20, measured_until_us=1_800
            ),
            "libraries": {"onnx": "1.23.2"},
            "examples": (
                Example((0.5, 0.2), ("clear",), 68.0, ()),
                Example((1.0, 0.0), ("rain",), 70.0, ()),
                Example((0.0, 0.0), ("snow",), 70.0, ()),
            ),
        }
        return Artifact(**(fields | changes))  # type: ignore[arg-type]

    return build
