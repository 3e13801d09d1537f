"""SHAP values of trees against their definition, written out over all subsets."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.tree_shap import Tree, TreeShap

WIDTH = 4


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Any tree: columns may come again on a path, with any thresholds, and rows enough for every node."""
    left, right, column, threshold, cover, values = [], [], [], [], [], []
    outputs = 2

    def grow(rows: int, depth: int) -> int:
        node = len(left)
        for each in (left, right):
            each.append(-1)
        column.append(-2)
        threshold.append(-2.0)
        cover.append(float(rows))
        values.append([draw(st.integers(-5, 5)) + 0.5 for _ in range(outputs)])
        if rows >= 2 and depth and draw(st.booleans()):
            to_left = draw(st.integers(1, rows - 1))
            column[node] = draw(st.integers(0, WIDTH - 1))
            threshold[node] = float(draw(st.integers(-2, 2)))
            left[node] = grow(to_left, depth - 1)
            right[node] = grow(rows - to_left, depth - 1)
        return node

    grow(draw(st.integers(1, 40)), draw(st.integers(0, 5)))
    return tree_of(left, right, column, threshold, cover, values)


def tree_of(left, right, column, threshold, cover, values, width=WIDTH) -> Tree:
    return Tree(
        np.array(left),
        np.array(right),
        np.array(column),
        np.array(threshold, dtype=np.float64),
        np.array(cover, dtype=np.float64),
        np.array(values, dtype=np.float64),
        width,
    )


def expectation(tree: Tree, row: np.ndarray, known: frozenset[int], node: int = 0) -> np.ndarray:
    """What the tree says when only some columns are known: both ways where one is not."""
    if tree.left[node] == -1:
        return tree.values[node]
    left, right = tree.left[node], tree.right[node]
    if tree.column[node] in known:
        goes_left = row[tree.column[node]] <= tree.threshold[node]
        return expectation(tree, row, known, left if goes_left else right)
    total = tree.cover[left] + tree.cover[right]
    return (
        tree.cover[left] * expectation(tree, row, known, left)
        + tree.cover[right] * expectation(tree, row, known, right)
    ) / total


def shapley(tree: Tree, row: np.ndarray) -> np.ndarray:
    found = np.zeros((WIDTH, tree.values.shape[1]))
    for column in range(WIDTH):
        others = [other for other in range(WIDTH) if other != column]
        for size in range(WIDTH):
            weight = factorial(size) * factorial(WIDTH - size - 1) / factorial(WIDTH)
            for subset in combinations(others, size):
                known = frozenset(subset)
                found[column] += weight * (
                    expectation(tree, row, known | {column}) - expectation(tree, row, known)
                )
    return found


@settings(deadline=None, max_examples=60)
@given(trees(), st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH))
def test_the_shares_are_the_shapley_values_by_their_definition(tree, row):
    matrix = np.array([row], dtype=np.float32)
    shap = TreeShap([tree])

    [found] = shap.contributions(matrix)

    np.testing.assert_allclose(found, shapley(tree, matrix[0]), atol=1e-9)
    np.testing.assert_allclose(shap.base, expectation(tree, matrix[0], frozenset()), atol=1e-9)
    full = expectation(tree, matrix[0], frozenset(range(WIDTH)))
    np.testing.assert_allclose(shap.base + found.sum(axis=0), full, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(trees(), min_size=2, max_size=4))
def test_several_trees_are_explained_as_their_sum(members):
    rows = np.array([[0, 1, -1, 2], [3, -3, 0, 0]], dtype=np.float32)
    together = TreeShap(members)

    apart = [TreeShap([member]) for member in members]

    np.testing.assert_allclose(
        together.contributions(rows), sum(one.contributions(rows) for one in apart), atol=1e-9
    )
    np.testing.assert_allclose(together.base, sum(one.base for one in apart), atol=1e-9)


@pytest.mark.parametrize(
    ("left", "right", "column", "cover", "words"),
    [
        ([1, 0, -1], [2, 2, -1], [0, 0, 0], [3, 2, 1], "meet again"),
        ([1, 1, -1], [2, -1, -1], [0, 0, 0], [3, 2, 1], "meet again"),
        ([-1, 1, -1], [-1, 2, -1], [0, 0, 0], [3, 2, 1], "leads back"),
        ([2, -1, 1, -1, -1], [3, -1, 4, -1, -1], [0] * 5, [5, 1, 3, 2, 2], "leads back"),
        ([1, -1, -1], [5, -1, -1], [0, 0, 0], [3, 2, 1], "leads back or out"),
        ([1, -1, -1], [2, -1, -1], [WIDTH, 0, 0], [3, 2, 1], "columns beyond"),
        ([1, -1, -1], [2, -1, -1], [-1, 0, 0], [3, 2, 1], "columns beyond"),
        ([1, -1, -1], [2, -1, -1], [0, 0, 0], [3, 0, 3], "no training row"),
        ([1, -1, -1], [2, -1, -1], [0, 0, 0], [3, float("nan"), 3], "no training row"),
        ([1, -1], [2, -1, -1], [0, 0, 0], [3, 2, 1], "as many branches as nodes"),
        ([], [], [], [], "as many branches as nodes"),
    ],
)
def test_what_is_no_tree_is_refused(left, right, column, cover, words):
    nodes = len(right)
    with pytest.raises(UnreadableArtifactError, match=words):
        tree_of(left, right, column, [0.0] * nodes, cover, [[1.0]] * nodes)
