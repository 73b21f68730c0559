"""Whether a version gives a row the same number alone as among others, to the last bit.

A request with one row is the measure: that is what a number of the online path is. Trees and exact arithmetic give the same
number anywhere; products with a vector and functions of double precision do so in an even number of rows, which is how they
are always asked (`answering.PAIRED_OPERATORS`). Only versions that consist of nothing else are scored in blocks, and the
first block is compared with its rows alone. Everything not listed here counts as influenced.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brandhouse_shared.answering import PAIRED_OPERATORS
from brandhouse_shared.artifacts import ONNX_FILE, SKOPS_FILE, Manifest, Runtime
from brandhouse_shared.errors import join_bounded

_EXACT = (
    "Abs Add And ArgMax ArgMin ArrayFeatureExtractor Binarizer Cast Ceil Clip Compress Concat Constant ConstantOfShape "
    "Div Equal Expand Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity Imputer IsInf IsNaN "
    "LabelEncoder Less LessOrEqual Max Min Mod Mul Neg Not OneHot OneHotEncoder Or Range Relu Reshape Round Scaler Shape Sign "
    "Slice Split Sqrt Squeeze StringConcat StringNormalizer Sub TopK Transpose TreeEnsemble TreeEnsembleClassifier "
    "TreeEnsembleRegressor Unsqueeze Where Xor ZipMap"
)
EXACT_OPERATORS = frozenset(_EXACT.split())
"""Of ONNX: each value follows from its own row by operations that IEEE 754 rounds one way, or by walks down trees."""

EXACT_MODULES = (
    "sklearn.tree.",
    "sklearn.ensemble._forest.",
    "sklearn.ensemble._gb.",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.pipeline.",
    "sklearn.compose._column_transformer.",
    "sklearn.impute._base.",
    "sklearn.preprocessing._encoders.",
    "sklearn.preprocessing._label.",
    "sklearn.dummy.",
    "sklearn._loss.",
    "sklearn.utils.",
    "builtins.",
    "functools.partial",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.bool",
    "numpy.float",
    "numpy.int",
    "numpy.uint",
    "numpy.random.",
)
"""Of a skops file: modules whose classes predict row by row, and what plain values are kept in."""

EXACT_CLASSES = frozenset(
    {
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._data.MinMaxScaler",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",  # its function is named beside it
    }
)


def what_influences(folder: Path, manifest: Manifest) -> str:
    """Name what may make a row's number depend on its neighbours; empty if nothing does.

    Args:
        folder: The version's artifact.
        manifest: Its manifest.
    """
    match manifest.runtime:
        case Runtime.CONSTANT:
            return ""
        case Runtime.COMPILED:
            found = sorted(set(_operators(folder / ONNX_FILE)) - EXACT_OPERATORS - PAIRED_OPERATORS)
        case Runtime.PYTHON:
            found = sorted({name for name in _classes(folder / SKOPS_FILE) if not _is_exact(name)})
    return join_bounded(found, 5) if found else ""


def _operators(file: Path) -> Iterator[str]:
    import onnx

    return _operators_of(onnx.load(str(file)).graph)


def _operators_of(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:  # the branches of an If, the body of a Loop
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _operators_of(inner)


def _classes(file: Path) -> Iterator[str]:
    with zipfile.ZipFile(file) as archive:
        schema = json.loads(archive.read("schema.json"))
    return _classes_of(schema)


def _classes_of(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__', '')}.{node['__class__']}"
        for child in node.values():
            yield from _classes_of(child)
    elif isinstance(node, list):
        for child in node:
            yield from _classes_of(child)


def _is_exact(name: str) -> bool:
    return name.startswith(EXACT_MODULES) or name in EXACT_CLASSES
