"""Writing an ONNX graph node by node, for what no converter writes: every name is a number, so equal lines are equal bytes."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 15  # read by every ONNX Runtime since 2021
_IR_VERSION = 8  # of the same age
_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


class Line:
    """A graph that grows at its end. `last` names what stands there."""

    def __init__(self, model: onnx.ModelProto, prefix: str = "line") -> None:
        self._model = model
        self._prefix = prefix
        self._graph = model.graph
        self._count = 0
        self.last: str = self._graph.output[-1].name if self._graph.output else "input"

    @classmethod
    def from_nothing(cls, width: int) -> "Line":
        """One input, float32 [rows, width]."""
        source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])
        graph = helper.make_graph([], "model", [source], [])
        return cls(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))

    @classmethod
    def behind(cls, content: bytes) -> "Line":
        """Goes on behind a model's last output."""
        model = onnx.load_model_from_string(content)
        line = cls(model, "behind")
        if all(each.domain for each in model.opset_import):
            model.opset_import.append(helper.make_opsetid("", OPSET))
        return line

    def constant(self, values: NDArray[Any]) -> str:
        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:  # noqa: ANN401  whatever ONNX takes
        """Appends an operator of ONNX itself; returns its last output's name."""
        names = [self._name() for _ in range(outputs)]
        self._graph.node.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[-1]

    def beside(self, name: str) -> str:
        """The output before the one of this name, of an operator with two."""
        head, _, number = name.rpartition("_")
        return f"{head}_{int(number) - 1}"

    def cast(self, source: str, kind: type[np.floating[Any]]) -> str:
        return self.node("Cast", source, to=_TYPES[np.dtype(kind)])

    def numbers(self, *values: float) -> str:
        """A float64 constant."""
        return self.constant(np.array(values, dtype=np.float64))

    def ended(self, answer: str, columns: int) -> bytes:
        """The model, with the one output float32 [rows, columns]."""
        del self._graph.output[:]
        self._graph.output.append(
            helper.make_tensor_value_info(answer, TensorProto.FLOAT, [None, columns])
        )
        self._model.ir_version = _IR_VERSION
        content: bytes = self._model.SerializeToString(deterministic=True)
        return content

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"
