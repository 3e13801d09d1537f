"""Exact SHAP values of decision trees, path-dependent: what is not known goes both ways, by how many training rows did.

The game and its values are TreeSHAP's (Lundberg, Erion, Lee: Consistent Individualized Feature Attribution for Tree
Ensembles, 2018, arXiv:1802.03888). They are computed leaf by leaf: a leaf asks each of its features for an interval, and
a feature's share is the Shapley value of a product, which Owen's integral (Multilinear Extensions of Games, 1972) gives
as the integral of a polynomial. Gauss-Legendre quadrature of enough points is exact for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.signature import Matrix, Numbers

_LEAF = -1


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A tree's nodes, numbered from the root; a row goes left where `value <= threshold`.

    `left`, `right` and `column` are [nodes], -1 in `left` at leaves; `cover` [nodes] is the weight of the training rows that
    came by; `values` is [nodes, outputs]. Raises UnreadableArtifactError for nodes that do not make a tree over `width` columns.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    column: NDArray[np.int64]
    threshold: Numbers
    cover: Numbers
    values: Numbers
    width: int

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise UnreadableArtifactError(f"a tree of the model {problem}; train again")

    def _problem(self) -> str:
        count = len(self.left)
        others = (self.right, self.column, self.threshold, self.cover, self.values)
        if not count or any(len(each) != count for each in others):
            return "does not have as many branches as nodes"
        inner = np.flatnonzero(self.left != _LEAF)
        children = np.concatenate([self.left[inner], self.right[inner]])
        if len(np.unique(children)) != count - 1 or len(children) != count - 1:
            return "has branches that meet again, or nodes that nothing leads to"
        if (children <= np.concatenate([inner, inner])).any() or (children >= count).any():
            return "leads back or out of itself"
        if ((self.column[inner] < 0) | (self.column[inner] >= self.width)).any():
            return f"asks for columns beyond the {self.width} that there are"
        if not (np.isfinite(self.cover).all() and (self.cover > 0).all()):
            return "has nodes that no training row reached"
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    """A tree as its leaves: for each, up to `depth` features with the interval (low, high] that leads there.

    `column`, `low`, `high` and `share` are [leaves, depth]; `share` is the part of the training rows that followed the
    splits on that feature. An unused place has the whole line as its interval and the share 1. `values` is [leaves, outputs].
    """

    column: NDArray[np.int64]
    low: Numbers
    high: Numbers
    share: Numbers
    values: Numbers
    points: Numbers  # quadrature on [0, 1]
    weights: Numbers

    def contributions(self, row: NDArray[np.float32], width: int) -> Numbers:
        """[width, outputs] for one row without missing values."""
        place = row[self.column]
        inside = ((place > self.low) & (place <= self.high)).astype(np.float64)
        total = np.zeros_like(self.share)
        for point, weight in zip(self.points, self.weights, strict=True):
            factors = self.share * (1.0 - point) + inside * point  # above 0: shares and points are
            total += weight * factors.prod(axis=1, keepdims=True) / factors
        shares = total * (inside - self.share)
        flat, places = shares[:, :, np.newaxis] * self.values[:, np.newaxis, :], self.column.ravel()
        return np.stack(
            [
                np.bincount(places, flat[:, :, output].ravel(), minlength=width)
                for output in range(self.values.shape[1])
            ],
            axis=1,
        )


class TreeShap:
    """Explains the sum of some trees' answers."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._width = trees[0].width
        self._leaves = [_leaves_of(tree) for tree in trees]
        self.base: Numbers = np.sum([_mean_of(tree) for tree in trees], axis=0)
        """[outputs]: the sum's mean over the training rows, as the covers tell it."""

    def contributions(self, matrix: Matrix) -> Numbers:
        """[rows, width, outputs] for [rows, width] without missing values: with `base` they add up to the trees' sum."""
        outputs = len(self.base)
        found = np.zeros((len(matrix), self._width, outputs))
        for place, row in enumerate(matrix):
            for leaves in self._leaves:
                found[place] += leaves.contributions(row, self._width)
        return found


def _mean_of(tree: Tree) -> Numbers:
    leaf = tree.left == _LEAF
    weights = _reach(tree)[leaf]
    mean: Numbers = weights @ tree.values[leaf]
    return mean


def _reach(tree: Tree) -> Numbers:
    """The part of the training rows that reach each node: a product down the path, as the shares are."""
    reach = np.ones(len(tree.left))
    for node in np.flatnonzero(tree.left != _LEAF):  # children come after their parents
        left, right = tree.left[node], tree.right[node]
        both = tree.cover[left] + tree.cover[right]
        reach[left] = reach[node] * tree.cover[left] / both
        reach[right] = reach[node] * tree.cover[right] / both
    return reach


def _leaves_of(tree: Tree) -> _Leaves:
    paths, nodes = [], []
    waiting: list[tuple[int, dict[int, tuple[float, float, float]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        left, right = int(tree.left[node]), int(tree.right[node])
        if left == _LEAF:
            paths.append(path)
            nodes.append(node)
            continue
        column, threshold = int(tree.column[node]), float(tree.threshold[node])
        low, high, share = path.get(column, (-np.inf, np.inf, 1.0))
        to_left = float(tree.cover[left] / (tree.cover[left] + tree.cover[right]))
        waiting.append((left, path | {column: (low, min(high, threshold), share * to_left)}))
        waiting.append(
            (right, path | {column: (max(low, threshold), high, share * (1.0 - to_left))})
        )
    return _padded(paths, tree.values[nodes])


def _padded(paths: Sequence[dict[int, tuple[float, float, float]]], values: Numbers) -> _Leaves:
    depth = max(1, *(len(path) for path in paths)) if len(paths) > 1 else 1
    shape = (len(paths), depth)
    column = np.zeros(shape, dtype=np.int64)
    low, high, share = np.full(shape, -np.inf), np.full(shape, np.inf), np.ones(shape)
    for leaf, path in enumerate(paths):
        for place, (name, interval) in enumerate(path.items()):
            column[leaf, place] = name
            low[leaf, place], high[leaf, place], share[leaf, place] = interval
    # n points are exact up to degree 2n - 1; the integrand's is depth - 1
    points, weights = np.polynomial.legendre.leggauss(depth // 2 + 1)
    return _Leaves(column, low, high, share, values, (points + 1.0) / 2.0, weights / 2.0)
