"""In what two artifacts of one model differ: which file, and in it which keys or which numbers of the graph."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_shared.artifacts import ONNX_FILE
from brandhouse_shared.errors import join_bounded

STORE_FILE = "model.yaml"
"""The store's own; no part of what the digest names."""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file of two artifacts.

    Attributes:
        detail: What differs in it, without values; empty if it is the same.
    """

    name: str
    is_same: bool
    detail: str = ""


def compare_folders(before: Path, after: Path) -> Iterator[FileDifference]:
    """Compare two artifacts file by file, ordered by name."""
    for name in sorted({*_names(before), *_names(after)}):
        yield _compare(name, before / name, after / name)


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != STORE_FILE}


def _compare(name: str, before: Path, after: Path) -> FileDifference:
    if not before.is_file() or not after.is_file():
        return FileDifference(name, is_same=False, detail=f"only in the {'new' if after.is_file() else 'registered'} artifact")
    if before.read_bytes() == after.read_bytes():
        return FileDifference(name, is_same=True)
    if name == ONNX_FILE:
        return FileDifference(name, is_same=False, detail=_graph_difference(before, after))
    if name.endswith(".json"):
        return FileDifference(name, is_same=False, detail=_json_difference(before, after))
    return FileDifference(name, is_same=False, detail=f"{before.stat().st_size} and {after.stat().st_size} bytes")


def _json_difference(before: Path, after: Path) -> str:
    one, other = json.loads(before.read_bytes()), json.loads(after.read_bytes())
    if not isinstance(one, dict) or not isinstance(other, dict):
        return "other values"
    return f"other values of {join_bounded(sorted(key for key in {*one, *other} if one.get(key) != other.get(key)))}"


def _graph_difference(before: Path, after: Path) -> str:
    """Numbers of a graph: those of its constants and of its nodes, where trees are kept."""
    one, other = _numbers(before), _numbers(after)
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return f"another graph: {len(one)} and {len(other)} sets of numbers"
    changed = {name: abs(one[name] - other[name]).max() for name in one if one[name].size and (one[name] != other[name]).any()}
    if not changed:
        return "the same numbers in another order of bytes"
    most = max(changed, key=lambda name: changed[name])
    return f"{len(changed)} of {len(one)} sets of numbers, by up to {float(changed[most]):.3g} in {most}"


def _numbers(file: Path) -> dict[str, Any]:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    arrays = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    found = {name: array.astype(np.float64) for name, array in arrays.items() if array.dtype.kind in "fiub"}
    for place, node in enumerate(graph.node):
        for attribute in node.attribute:
            values = attribute.floats or attribute.ints
            if values:
                found[f"{node.op_type}_{place}.{attribute.name}"] = np.asarray(values, dtype=np.float64)
    return found
