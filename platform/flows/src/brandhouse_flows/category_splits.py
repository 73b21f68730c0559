"""Native categories of histogram boosting, rewritten as comparisons of numbers that the converter to ONNX knows.

scikit-learn numbers the categories, puts their columns first and asks for membership of a set; the converter overlooks all
three. A set of numbers is a union of points, and a point x is all that is at most x and not at most the float32 below. So
each such split becomes a chain of comparisons that ends in the same two children: exactly the same question, for known
categories, unknown ones and missing ones alike.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def spread_categories(model: Any) -> None:
    """Rewrite the trees of a fitted histogram boosting, which is changed. Without native categories nothing happens."""
    preparation = getattr(model, "_preprocessor", None)
    if preparation is None:
        return
    known = [_numbers(categories) for categories in preparation.named_transformers_["encoder"].categories_]
    is_category = np.asarray(model.is_categorical_)
    columns = np.concatenate([np.flatnonzero(is_category), np.flatnonzero(~is_category)])
    for trees in model._predictors:
        for tree in trees:
            tree.nodes = _spread(tree, columns, known)


def _numbers(categories: Any) -> "np.ndarray[Any, Any]":
    """The known categories of one column, ascending, without the missing one.

    Raises:
        NotImplementedError: If they are no numbers of single precision.
    """
    values = np.asarray(categories)
    if not np.issubdtype(values.dtype, np.number):
        raise NotImplementedError("histogram boosting whose native categories are texts; number them with an OrdinalEncoder before")
    values = values[~np.isnan(values.astype(np.float64))]
    return values.astype(np.float32)


def _spread(tree: Any, columns: "np.ndarray[Any, Any]", known: Sequence["np.ndarray[Any, Any]"]) -> "np.ndarray[Any, Any]":
    nodes = tree.nodes.copy()
    added: list[Any] = []
    for place, node in enumerate(tree.nodes):
        if node["is_leaf"]:
            continue
        nodes[place]["feature_idx"] = columns[node["feature_idx"]]
        if node["is_categorical"]:
            goes_left = _membership(tree.raw_left_cat_bitsets[node["bitset_idx"]], len(known[node["feature_idx"]]))
            runs = _runs(known[node["feature_idx"]], goes_left, bool(node["missing_go_to_left"]))
            chain = list(_chain(nodes[place], runs, len(nodes) + len(added)))
            nodes[place] = chain[0]
            added += chain[1:]
    return np.concatenate([nodes, np.array(added, dtype=nodes.dtype)]) if added else nodes


def _membership(bits: "np.ndarray[Any, Any]", count: int) -> list[bool]:
    """Whether each category's number is in a set of 256 bits, kept as eight words of 32."""
    return [bool(int(bits[number // 32]) >> (number % 32) & 1) for number in range(count)]


def _runs(values: "np.ndarray[Any, Any]", goes_left: Sequence[bool], missing_left: bool) -> list[tuple[float, bool]]:
    """The number line as stretches that go the same way: upper end, inclusive, and whether they go left; the last has no end.

    What is no known category goes where missing values go, so the first stretch always does.
    """
    points = []
    for value, left in zip(values, goes_left, strict=True):
        points += [(float(np.nextafter(value, np.float32(-np.inf))), missing_left), (float(value), left)]
    points.append((float("inf"), missing_left))
    return [point for point, following in zip(points, [*points[1:], None], strict=True) if following is None or following[1] != point[1]]


def _chain(node: Any, runs: Sequence[tuple[float, bool]], first_added: int) -> Iterator[Any]:
    """Nodes that ask for one stretch after the other; the first takes the split's place."""
    left, right = int(node["left"]), int(node["right"])
    for step, (end, goes_left) in enumerate(runs[:-1] or runs):
        made = node.copy()
        is_last = step >= len(runs) - 2
        made["num_threshold"], made["is_categorical"], made["missing_go_to_left"] = end, 0, 1
        made["left"] = left if goes_left else right
        made["right"] = (left if runs[-1][1] else right) if is_last else first_added + step
        yield made
