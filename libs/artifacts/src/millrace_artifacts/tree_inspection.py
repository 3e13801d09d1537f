"""The trees of an ONNX model: ONNX Runtime follows them wherever they lead.

One whose branch leads back to a node above it keeps ONNX Runtime 1.31 busy for ever, when it is loaded already. So
trees must be as training's exporters write them: numbered 0, 1, … from the root, every branch leading further down,
every node reached once, every column one that there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.protobuf_walk import refusal

Integers = NDArray[np.int64]
_NODES = ("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids")


@dataclass(slots=True)
class Attributes:
    """What of an operator's attributes is looked at: whole numbers by name, and for each node whether it is a leaf."""

    integers: dict[str, Integers] = field(default_factory=dict)
    leaves: NDArray[np.bool_] | None = None

    def add_integers(self, name: str, integers: Integers) -> None:
        if not name or name in self.integers:
            raise refusal(f"it gives {name or 'a list without a name'} twice, or before its name")
        self.integers[name] = integers

    def add_modes(self, name: str, leaves: NDArray[np.bool_]) -> None:
        if name != "nodes_modes" or self.leaves is not None:
            raise refusal(f"it gives {name or 'a list without a name'} twice, or as nodes' modes")
        self.leaves = leaves


def inspect_trees(attributes: Attributes, width: int) -> None:
    """Raises UnreadableArtifactError for an ensemble that is not made of trees over `width` columns."""
    given = attributes.integers
    tree, node, true, false, column = (
        given.get(f"nodes_{name}", np.empty(0, np.int64)) for name in _NODES
    )
    leaf = np.empty(0, np.bool_) if attributes.leaves is None else attributes.leaves
    if not len(tree) or any(len(each) != len(tree) for each in (node, true, false, column, leaf)):
        raise refusal("its trees' lists do not have the same lengths")
    first = np.flatnonzero(np.diff(tree, prepend=tree[0] - 1))
    sizes = np.diff(first, append=len(tree))
    if (np.diff(tree) < 0).any() or (node != np.arange(len(tree)) - np.repeat(first, sizes)).any():
        raise refusal("its trees' nodes are not numbered in order")
    if ((column < 0) | (column >= width)).any():
        raise refusal(f"its trees ask for columns beyond the {width} that there are")
    offset, size = np.repeat(first, sizes)[~leaf], np.repeat(sizes, sizes)[~leaf]
    for child in (true[~leaf], false[~leaf]):
        if ((child <= node[~leaf]) | (child >= size)).any():
            raise refusal("its trees lead back or out of themselves")
    reached = np.concatenate([offset + true[~leaf], offset + false[~leaf]])
    if len(np.unique(reached)) != len(reached) or len(reached) != len(tree) - len(first):
        raise refusal("its trees' branches meet again, or have nodes that nothing leads to")
    _inspect_answers(given, tree[first], sizes, first, leaf)


def _inspect_answers(
    given: Mapping[str, Integers],
    trees: Integers,
    sizes: Integers,
    first: Integers,
    leaf: NDArray[np.bool_],
) -> None:
    """What leaves answer belongs to leaves that there are."""
    for kind in ("target", "class"):
        tree, node = given.get(f"{kind}_treeids"), given.get(f"{kind}_nodeids")
        if tree is None and node is None:
            continue
        if tree is None or node is None or len(tree) != len(node):
            raise refusal("its answers' lists do not have the same lengths")
        place = np.minimum(np.searchsorted(trees, tree), len(trees) - 1)
        if (trees[place] != tree).any() or ((node < 0) | (node >= sizes[place])).any():
            raise refusal("it has answers of nodes that there are not")
        if not leaf[first[place] + node].all():
            raise refusal("it has answers of nodes that are no leaves")
