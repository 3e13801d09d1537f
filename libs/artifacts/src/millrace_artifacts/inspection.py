"""What an ONNX model may consist of: looked at in Python before a native library reads a byte of it.

Training exports straight lines of a few operators. Everything else that ONNX can say is refused: other operators and
domains, control flow (which can run for ever), functions, subgraphs, and tensors kept in other files. The list is
fixed here and never comes from the file.
"""

import re

import numpy as np

from millrace_artifacts.protobuf_walk import Runs, Value, fields, inside, refusal, text, walk
from millrace_artifacts.tree_inspection import Attributes, inspect_trees

OPERATORS = frozenset(
    {
        "ai.onnx.ml/Imputer",
        "ai.onnx.ml/LinearClassifier",
        "ai.onnx.ml/LinearRegressor",
        "ai.onnx.ml/Normalizer",
        "ai.onnx.ml/Scaler",
        "ai.onnx.ml/TreeEnsembleClassifier",
        "ai.onnx.ml/TreeEnsembleRegressor",
        "/Abs",
        "/Add",
        "/ArgMax",
        "/Cast",
        "/Clip",
        "/Concat",
        "/Div",
        "/Exp",
        "/Gather",
        "/Gemm",
        "/Identity",
        "/IsNaN",
        "/Log",
        "/MatMul",
        "/Max",
        "/Min",
        "/Mul",
        "/Neg",
        "/Pow",
        "/ReduceLogSumExp",
        "/ReduceMax",
        "/ReduceSum",
        "/ReduceSumSquare",
        "/Relu",
        "/Reshape",
        "/Sigmoid",
        "/Softmax",
        "/Sqrt",
        "/Squeeze",
        "/Sub",
        "/Sum",
        "/Tanh",
        "/TopK",
        "/Unsqueeze",
        "/Where",
        "ai.onnx.ml/ArrayFeatureExtractor",
    }
)
_TREES = frozenset({"ai.onnx.ml/TreeEnsembleClassifier", "ai.onnx.ml/TreeEnsembleRegressor"})
_DOMAINS = frozenset({"", "ai.onnx.ml"})
_MOST_NODES = 64  # training's longest line, of nearest neighbours with an interval, has some forty

# numbers of fields in onnx.proto
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_OPSET_DOMAIN = 1
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_FLOATS, _ATTRIBUTE_INTEGERS, _ATTRIBUTE_TEXTS = 1, 7, 8, 9
_ATTRIBUTE_PLAIN = frozenset({1, 2, 3, 4, 7, 8, 9, 13, 20})  # no tensor, no graph, no type
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

_FLOATS, _INTEGERS = Runs(_ATTRIBUTE_FLOATS), Runs(_ATTRIBUTE_INTEGERS)
_MODE = re.compile(rb"\x4a(?:\x0aBRANCH_LEQ|\x09BRANCH_LT|\x04LEAF)")
_MODES = re.compile(rb"(?:%b)++" % _MODE.pattern)
_LEAF = b"\x4a\x04LEAF"


def inspect_onnx(content: bytes, width: int) -> None:
    """Return for a model over `width` columns that is made of nothing but what training exports.

    Raises UnreadableArtifactError.
    """
    nodes = 0
    for number, value in fields(memoryview(content)):
        if number == _MODEL_GRAPH:
            nodes += _inspect_graph(inside(value), width)
        elif number == _MODEL_OPSETS:
            inspect_opset(inside(value))
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise refusal("it holds functions or training steps")
    if not 0 < nodes <= _MOST_NODES:
        raise refusal(f"it has {nodes} nodes, not 1 to {_MOST_NODES}")


def inspect_opset(opset: memoryview) -> None:
    """Raises UnreadableArtifactError for operators of another domain than ONNX's own two."""
    for number, value in fields(opset):
        if number == _OPSET_DOMAIN and text(value) not in _DOMAINS:
            raise refusal(f"it needs operators of {text(value)!r}")


def _inspect_graph(graph: memoryview, width: int) -> int:
    """Returns how many nodes it has."""
    nodes = 0
    for number, value in fields(graph):
        if number == _GRAPH_NODES:
            nodes += 1
            _inspect_node(inside(value), width)
        elif number == _GRAPH_TENSORS:
            inspect_tensor(inside(value))
        elif number == _GRAPH_SPARSE:
            raise refusal("it holds sparse tensors")
    return nodes


def _inspect_node(node: memoryview, width: int) -> None:
    operator = domain = ""  # of a field that comes twice, protobuf takes the last: so do we
    attributes = Attributes()
    for number, value in fields(node):
        if number == _NODE_OPERATOR:
            operator = text(value)
        elif number == _NODE_DOMAIN:
            domain = text(value)
        elif number == _NODE_ATTRIBUTES:
            _take_attribute(inside(value), attributes)
    name = f"{domain}/{operator}"
    if name not in OPERATORS:
        raise refusal(f"it has the operator {operator[:80]!r} of {domain[:80] or 'ONNX'!r}")
    if name in _TREES:
        inspect_trees(attributes, width)


def _take_attribute(attribute: memoryview, into: Attributes) -> None:
    """Long lists are taken at once; what is neither numbers nor texts is refused, and so is a list in two pieces."""
    name, at = "", 0
    while at < len(attribute):
        if run := _INTEGERS.integers(attribute, at):
            integers, at = run
            into.add_integers(name, integers)
        elif end := _FLOATS.floats(attribute, at):
            at = end
        elif modes := _MODES.match(attribute, at):
            at = modes.end()
            into.add_modes(name, np.array([mode == _LEAF for mode in _MODE.findall(modes[0])]))
        else:
            number, value, at = next(walk(attribute, at))
            _inspect_attribute_field(number, name)
            name = _named(name, value) if number == _ATTRIBUTE_NAME else name


def _named(before: str, value: Value) -> str:
    """Protobuf lets a name come late or twice, and the last one counts: then lists would not belong to whom they seem to."""
    if before:
        raise refusal(f"the attribute {before} has two names")
    return text(value)


def _inspect_attribute_field(number: int, name: str) -> None:
    """A field beside the lists' runs; those of trees stand in runs altogether."""
    if number not in _ATTRIBUTE_PLAIN:
        raise refusal(f"the attribute {name} holds a tensor, a graph or a type")
    if number in (_ATTRIBUTE_INTEGERS, _ATTRIBUTE_FLOATS) or (
        number == _ATTRIBUTE_TEXTS and name == "nodes_modes"
    ):
        raise refusal(f"the attribute {name} is not written as training writes it")


def inspect_tensor(tensor: memoryview) -> None:
    """Raises UnreadableArtifactError for a tensor that is kept elsewhere."""
    for number, value in fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise refusal("it keeps a tensor in another file")
