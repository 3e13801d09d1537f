"""What a sentence encoder may consist of: looked at in Python before a native library reads a byte of it.

ONNX's own operators on texts, numbers and shapes: enough for bags of words and for transformers that split their text
themselves. Refused are control flow (which can run for ever), functions, subgraphs, other domains (whose operators are code
of others) and tensors kept in other files. The list is fixed here and never comes from the file.
"""

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.inspection import OPERATORS, inspect_opset, inspect_tensor
from millrace_artifacts.protobuf_walk import fields, inside, refusal, text

ENCODER_OPERATORS = frozenset(
    {name for name in OPERATORS if "Tree" not in name}
    | {
        f"/{name}"
        for name in [
            "And",
            "Constant",
            "ConstantOfShape",
            "Conv",
            "CumSum",
            "Dropout",
            "Einsum",
            "Equal",
            "Erf",
            "Expand",
            "Flatten",
            "Floor",
            "Gelu",
            "GatherElements",
            "GatherND",
            "GlobalAveragePool",
            "Greater",
            "GreaterOrEqual",
            "LayerNormalization",
            "LeakyRelu",
            "Less",
            "LessOrEqual",
            "LpNormalization",
            "Mean",
            "Mod",
            "Not",
            "OneHot",
            "Or",
            "Pad",
            "Range",
            "Reciprocal",
            "ReduceL2",
            "ReduceMean",
            "ReduceMin",
            "RegexFullMatch",
            "Round",
            "Shape",
            "Sign",
            "Size",
            "Slice",
            "Split",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
            "Tile",
            "Transpose",
            "Trilu",
        ]
    }
    | {f"ai.onnx.ml/{name}" for name in ("CategoryMapper", "LabelEncoder")}
)
_MOST_NODES = 5_000  # of a transformer of twelve layers there are some hundred

# numbers of fields in onnx.proto
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR = 5
# no graph, no list of tensors or graphs, no type, no reference to a function's attribute
_ATTRIBUTE_PLAIN = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 13, 20})


def inspect_encoder(content: bytes) -> None:
    """Return for a model that is made of ENCODER_OPERATORS alone. Raises UnreadableArtifactError."""
    try:
        _inspect(content)
    except UnreadableArtifactError as error:
        why = str(error).partition(": ")[2]
        raise UnreadableArtifactError(f"the sentence encoder can't be taken: {why}") from error


def _inspect(content: bytes) -> None:
    nodes = 0
    for number, value in fields(memoryview(content)):
        if number == _MODEL_GRAPH:
            nodes += _inspect_graph(inside(value))
        elif number == _MODEL_OPSETS:
            inspect_opset(inside(value))
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise refusal("it holds functions or training steps")
    if not 0 < nodes <= _MOST_NODES:
        raise refusal(f"it has {nodes} nodes, not 1 to {_MOST_NODES}")


def _inspect_graph(graph: memoryview) -> int:
    nodes = 0
    for number, value in fields(graph):
        if number == _GRAPH_NODES:
            nodes += 1
            _inspect_node(inside(value))
        elif number == _GRAPH_TENSORS:
            inspect_tensor(inside(value))
        elif number == _GRAPH_SPARSE:
            raise refusal("it holds sparse tensors")
    return nodes


def _inspect_node(node: memoryview) -> None:
    operator = domain = ""
    for number, value in fields(node):
        if number == _NODE_OPERATOR:
            operator = text(value)
        elif number == _NODE_DOMAIN:
            domain = text(value)
        elif number == _NODE_ATTRIBUTES:
            _inspect_attribute(inside(value))
    name = f"{domain}/{operator}"
    if name not in ENCODER_OPERATORS:
        raise refusal(f"it has the operator {operator[:80]!r} of {domain[:80] or 'ONNX'!r}")


def _inspect_attribute(attribute: memoryview) -> None:
    for number, value in fields(attribute):
        if number not in _ATTRIBUTE_PLAIN:
            raise refusal("an attribute holds a graph, a type or a list of tensors")
        if number == _ATTRIBUTE_TENSOR:
            inspect_tensor(inside(value))
