"""XGBoost's trees as one ONNX operator.

onnxmltools does the same by way of text and of one Python call for each node, which took longer than growing the trees: more
than half of a run's processor time, and nearly all of an update's. Here XGBoost's own arrays become the operator's.
"""

import msgspec
import numpy as np
import xgboost
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, helper

from millrace_artifacts.errors import UnreadableArtifactError

_OPSET = 15  # read by every ONNX Runtime since 2021
_IR_VERSION = 8  # as old
_BINARY, _CLASSES = "binary:logistic", "multi:softprob"
_BRANCH, _LEAF = b"BRANCH_LT", b"LEAF"  # a value below the threshold goes left

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class _Tree(msgspec.Struct):
    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    split_conditions: list[float]  # at leaves: what they answer
    default_left: list[int]
    categories_nodes: list[int]
    tree_param: dict[str, str]


class _Model(msgspec.Struct):
    trees: list[_Tree]
    tree_info: list[int]  # of each tree, which output it adds to


class _Gbtree(msgspec.Struct):
    model: _Model


class _Named(msgspec.Struct):
    name: str


class _Parameters(msgspec.Struct):
    base_score: str  # "[5E-1]", one for each output, or one for all
    num_class: str
    num_target: str


class _Learner(msgspec.Struct):
    gradient_booster: _Gbtree
    learner_model_param: _Parameters
    objective: _Named


class _Saved(msgspec.Struct):
    learner: _Learner


_decode = msgspec.json.Decoder(_Saved).decode


def onnx_of(booster: xgboost.Booster, width: int) -> bytes:
    """An ONNX model from `input`, float32 [n, width], to `variable` [n, outputs], or to `label` and `probabilities` [n, classes].

    The booster is a regression's (of one or several quantiles) or a classifier's over numbers alone, grown by "hist". Raises
    UnreadableArtifactError for another.
    """
    learner = _decode(bytes(booster.save_raw("json"))).learner
    objective, parameters = learner.objective.name, learner.learner_model_param
    outputs = max(1, int(parameters.num_class), int(parameters.num_target))
    base = np.asarray(parameters.base_score.strip("[]").split(","), np.float32)
    nodes, answers = _ensemble(learner.gradient_booster.model)
    if objective in (_BINARY, _CLASSES):
        classes = max(2, outputs)
        given = nodes | {f"class_{name}": value for name, value in answers.items()}
        given["classlabels_int64s"] = np.arange(classes)
        if objective == _BINARY:
            base = np.log(base) - np.log1p(-base)  # kept as a probability
        given["base_values"] = base if len(base) == outputs else np.repeat(base, outputs)
        given["post_transform"] = b"LOGISTIC" if objective == _BINARY else b"SOFTMAX"
        return _written("TreeEnsembleClassifier", given, width, classes)
    given = nodes | {f"target_{name}": value for name, value in answers.items()}
    given |= {"n_targets": outputs, "base_values": base, "post_transform": b"NONE"}
    return _written("TreeEnsembleRegressor", given, width, outputs)


def _ensemble(model: _Model) -> tuple[dict[str, object], dict[str, object]]:
    """The nodes of all trees, one after the other, and the leaves' answers."""
    trees = model.trees
    for tree in trees:
        if tree.categories_nodes or tree.tree_param["num_deleted"] != "0":
            raise UnreadableArtifactError(
                "an XGBoost model with splits on categories, or with nodes that were cut, has no ONNX form here"
            )
    sizes = [len(tree.left_children) for tree in trees]
    number = np.repeat(np.arange(len(trees)), sizes)
    first = np.cumsum(sizes) - sizes
    node = np.arange(len(number)) - np.repeat(first, sizes)
    left = np.fromiter((each for tree in trees for each in tree.left_children), np.int64)
    right = np.fromiter((each for tree in trees for each in tree.right_children), np.int64)
    column = np.fromiter((each for tree in trees for each in tree.split_indices), np.int64)
    value = np.fromiter((each for tree in trees for each in tree.split_conditions), np.float32)
    missing = np.fromiter((each for tree in trees for each in tree.default_left), np.int64)
    leaf = left < 0
    nodes: dict[str, object] = {
        "nodes_treeids": number,
        "nodes_nodeids": node,
        "nodes_featureids": np.where(leaf, 0, column),
        "nodes_modes": [_LEAF if each else _BRANCH for each in leaf.tolist()],
        "nodes_values": np.where(leaf, np.float32(0), value),
        "nodes_truenodeids": np.where(leaf, 0, left),
        "nodes_falsenodeids": np.where(leaf, 0, right),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, missing),
    }
    return nodes, {
        "treeids": number[leaf],
        "nodeids": node[leaf],
        "ids": np.asarray(model.tree_info)[number[leaf]],
        "weights": value[leaf],
    }


def _written(operator: str, given: dict[str, object], width: int, outputs: int) -> bytes:
    answers = [("variable", TensorProto.FLOAT, [None, outputs])]
    if operator == "TreeEnsembleClassifier":
        answers = [
            ("label", TensorProto.INT64, [None]),
            ("probabilities", TensorProto.FLOAT, [None, outputs]),
        ]
    model = ModelProto(ir_version=_IR_VERSION, producer_name="millrace")
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    model.opset_import.add(domain="", version=_OPSET)
    graph = model.graph
    graph.name = "model"
    graph.input.append(helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width]))
    graph.output.extend(helper.make_tensor_value_info(*each) for each in answers)
    node = graph.node.add(op_type=operator, domain="ai.onnx.ml", name="trees", input=["input"])
    node.output.extend(name for name, _, _ in answers)
    for name in sorted(given):
        _set(node.attribute.add(name=name), given[name])
    return model.SerializeToString(deterministic=True)


def _set(attribute: AttributeProto, value: object) -> None:
    """`helper.make_attribute` looks at every item; the operator's lists are long."""
    match value:
        case bytes():
            attribute.type, attribute.s = AttributeProto.STRING, value
        case int():
            attribute.type, attribute.i = AttributeProto.INT, value
        case list():
            attribute.type = AttributeProto.STRINGS
            attribute.strings.extend(value)
        case np.ndarray(dtype=np.float32):
            attribute.type = AttributeProto.FLOATS
            attribute.floats.extend(value.tolist())
        case np.ndarray():
            attribute.type = AttributeProto.INTS
            attribute.ints.extend(value.tolist())
        case _:
            raise TypeError(f"{attribute.name} is {type(value).__name__}")
