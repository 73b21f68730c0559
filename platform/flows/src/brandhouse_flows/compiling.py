"""Make one ONNX graph of features and estimator, and measure whether it agrees with scikit-learn.

inputs `in_<n>` (rows, 1) -> feature expressions in float64 -> float32 and texts, as `features.as_model_input` makes
them -> the converted estimator -> `score` (rows, 1) or `probabilities` (rows, classes).

The same features and estimator give the same bytes: names are counted, producer and versions are fixed.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from brandhouse_flows.conversions import answers_in_logarithms, custom_converters, prepare, repair, take_out_level
from brandhouse_flows.expressions import Kind
from brandhouse_flows.feature_graph import ML_DOMAIN, TENSOR_TYPES, GraphWriter, depends_on_input
from brandhouse_flows.graph_simplification import simplify
from brandhouse_flows.tracing import Feature
from brandhouse_shared.artifacts import GraphInput
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.metrics import Task

OPSET = 20
ML_OPSET = 3
IR_VERSION = 10
NUMBERS = "numbers"
TEXTS = "texts"

DIVIDING_SCALERS = ("StandardScaler", "RobustScaler", "MaxAbsScaler")

Inverse = tuple[str | float, ...]
"""What is done to a regression's answer in double precision: a number is added, a word names an operation."""

INVERSES: dict[Any, tuple[str, ...]] = {np.exp: ("Exp",), np.expm1: ("Exp", "minus one"), np.square: ("square",)}
"""Inverse functions of a transformed target that are appended to the graph."""


class NotCompilableError(BrandhouseError):
    """Features or estimator have no ONNX form; the message is the reason."""


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A whole model as one graph.

    Attributes:
        content: The ONNX file's bytes.
        inputs: What the graph takes, the n-th as `in_<n>`.
    """

    content: bytes
    inputs: tuple[GraphInput, ...]


def compile_model(features: Sequence[Feature], estimator: Any, task: Task) -> CompiledModel:
    """Compile traced features and a fitted estimator.

    Raises:
        NotCompilableError: If the estimator, or its use of the features, has no ONNX form.
    """
    writer = GraphWriter()
    numbers = [index for index, feature in enumerate(features) if not feature.is_text]
    texts = [index for index, feature in enumerate(features) if feature.is_text]
    if numbers:
        _join(writer, _as_floats(writer, [features[index] for index in numbers]), NUMBERS)
    if texts:
        _join(writer, [_varying(writer, features[index]) for index in texts], TEXTS)
    if not writer.inputs:
        raise NotCompilableError("no feature depends on an input field")
    places = {column: place for place, column in enumerate([*numbers, *texts])}
    converted, inverse = _convert(estimator, places, len(numbers), len(texts), task)
    output = _append_estimator(writer, converted.graph, inverse, task)
    extensions = {one.domain: one.version for one in converted.opset_import if one.domain not in ("", ML_DOMAIN)}
    return CompiledModel(_build_model(writer, output, extensions), tuple(writer.inputs))


# -- features --------------------------------------------------------------------------------------------------------


def _as_floats(writer: GraphWriter, features: Sequence[Feature]) -> list[str]:
    """Cast features to float32, neighbours of type double together: one node instead of many."""
    floats: list[str] = []
    doubles: list[str] = []
    for feature in features:
        name = _varying(writer, feature)
        if TENSOR_TYPES[feature.node.kind] == TensorProto.DOUBLE:
            doubles.append(name)
            continue
        floats += _cast_doubles(writer, doubles)
        doubles = []
        floats.append(writer.cast(name, TensorProto.FLOAT) if feature.node.kind is not Kind.SINGLE else name)
    return floats + _cast_doubles(writer, doubles)


def _cast_doubles(writer: GraphWriter, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    joined = writer.emit("Concat", names, axis=1) if len(names) > 1 else names[0]
    return [writer.cast(joined, TensorProto.FLOAT)]


def _varying(writer: GraphWriter, feature: Feature) -> str:
    """The tensor of a feature, one value a row even if it is the same for all."""
    name = writer.write(feature.node)
    if depends_on_input(feature.node):
        return name
    if not writer.inputs:
        raise NotCompilableError(f"feature {feature.name!r} is the same for all rows and stands before any other")
    return writer.emit("Expand", [name, writer.emit("Shape", ["in_0"])])


def _join(writer: GraphWriter, names: Sequence[str], output: str) -> None:
    if len(names) > 1:
        writer.nodes.append(helper.make_node("Concat", names, [output], output, axis=1))
    else:
        writer.nodes.append(helper.make_node("Identity", names, [output], output))


# -- estimator -------------------------------------------------------------------------------------------------------


def _convert(estimator: Any, places: dict[int, int], numbers: int, texts: int, task: Task) -> tuple[Any, Inverse]:
    """Convert a copy whose column transformers address columns by place: names may hold any characters."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    model, inverse = _without_target_transform(copy.deepcopy(estimator))
    for part in _parts(model):
        _check_vectorizer(part)
        if hasattr(part, "flatten_transform"):
            part.flatten_transform = False  # shapes `transform` only, and the converter knows no other
    try:
        prepare(list(_parts(model)))
    except NotImplementedError as error:
        raise NotCompilableError(str(error)) from error
    steps: Inverse = ("Exp", *inverse) if answers_in_logarithms(model) else inverse
    steps = (take_out_level(model), *steps) if "Exp" in steps else steps
    _address_by_place(model, places)
    types = [(NUMBERS, FloatTensorType([None, numbers]))] if numbers else []
    types += [(TEXTS, StringTensorType([None, texts]))] if texts else []
    # A product with the reciprocal rounds otherwise than scikit-learn's quotient: a tree behind the scaler would flip.
    options: dict[int, dict[str, Any]] = {id(part): {"div": "div"} for part in _parts(model) if type(part).__name__ in DIVIDING_SCALERS}
    options |= {} if task is Task.REGRESSION else {id(model): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter's advice is for its developers; the comparison decides
            opsets = {"": OPSET, ML_DOMAIN: ML_OPSET}
            known = custom_converters()
            converted = convert_sklearn(model, "model", initial_types=types, options=options, target_opset=opsets, **known)
            repair(converted.graph)
            return converted, steps
    except Exception as error:  # skl2onnx raises whatever its converters meet
        first = next(iter(str(error).strip().splitlines()), "")
        raise NotCompilableError(f"{type(estimator).__name__} does not convert: {type(error).__name__}: {first[:200]}") from error


def _without_target_transform(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Take a TransformedTargetRegressor apart: its regressor, and the inverse function to append."""
    from sklearn.compose import TransformedTargetRegressor

    if not isinstance(model, TransformedTargetRegressor):
        return model, ()
    if model.transformer is not None or model.inverse_func not in INVERSES:
        known = ", ".join(f"np.{function.__name__}" for function in INVERSES)
        raise NotCompilableError(f"TransformedTargetRegressor with other than inverse_func {known}")
    return model.regressor_, INVERSES[model.inverse_func]


def _parts(model: Any) -> Iterator[Any]:
    """The estimator and all estimators within, fitted ones where there are."""
    yield model
    for part in _children(model):
        yield from _parts(part)


def _children(model: Any) -> list[Any]:
    groups = [
        getattr(model, name, None) for name in ("steps", "transformers_", "transformer_list", "estimators_", "calibrated_classifiers_")
    ]
    listed = [one for group in groups if isinstance(group, list) for one in group]
    parts = [one[1] if isinstance(one, tuple) else getattr(one, "estimator", one) for one in listed]
    return [part for part in [*parts, getattr(model, "estimator_", None)] if hasattr(part, "get_params")]


def _check_vectorizer(part: Any) -> None:
    """Refuse text options that convert without a word and are wrong.

    The converter's tokenizer knows bytes, no Unicode classes, and asks the machine's locale for lower case.
    """
    if not hasattr(part, "token_pattern") or not hasattr(part, "analyzer"):
        return
    if part.analyzer != "word" or part.tokenizer or part.preprocessor or part.strip_accents:
        raise NotCompilableError(f"{type(part).__name__} with an analyzer, tokenizer, preprocessor or strip_accents of its own")
    if part.lowercase or any(sign in part.token_pattern for sign in ("\\w", "\\b", "(?", "\\W", "\\s", "\\S", "\\d")):
        raise NotCompilableError(
            f"{type(part).__name__} compiles with lowercase=False and a token_pattern of plain character classes such as "
            '"[a-zA-Z0-9_]+"; lower-case in build_features by .str.lower()'
        )


def _address_by_place(model: Any, places: dict[int, int]) -> None:
    """Let the column transformers that see the feature frame name their columns by their place in the graph."""
    from sklearn.compose import ColumnTransformer

    if isinstance(model, ColumnTransformer) and hasattr(model, "transformers_"):
        model.transformers_ = [
            (name, part, _place(columns, model._transformer_to_input_indices[name], places)) for name, part, columns in model.transformers_
        ]
        return
    children = _children(model)
    # only the first step of a pipeline sees the frame; every other composite hands it to all its parts
    for child in children[:1] if hasattr(model, "steps") else children:
        _address_by_place(child, places)


def _place(columns: Any, indices: Any, places: dict[int, int]) -> Any:
    found = [places[int(index)] for index in indices]
    is_scalar = isinstance(columns, (str, int, np.integer))
    return found[0] if is_scalar else found


def _append_estimator(writer: GraphWriter, graph: Any, inverse: Inverse, task: Task) -> str:
    writer.nodes += graph.node
    writer.initializers += graph.initializer
    if task is not Task.REGRESSION:
        writer.nodes.append(helper.make_node("Identity", [graph.output[1].name], ["probabilities_out"], "output"))
        return "probabilities_out"
    score = writer.emit("Reshape", [graph.output[0].name, writer.constant(np.array([-1, 1], dtype=np.int64))])
    if inverse:
        score = _invert(writer, score, inverse)
    writer.nodes.append(helper.make_node("Identity", [score], ["score"], "output"))
    return "score"


def _invert(writer: GraphWriter, score: str, inverse: Inverse) -> str:
    name = writer.cast(score, TensorProto.DOUBLE)
    for step in inverse:
        match step:
            case float():
                name = writer.emit("Add", [name, writer.constant(np.array(step))])
            case "Exp":
                name = writer.emit("Exp", [name])
            case "minus one":
                name = writer.emit("Sub", [name, writer.constant(np.array(1.0))])
            case "square":
                name = writer.emit("Mul", [name, name])
    return writer.cast(name, TensorProto.FLOAT)


# -- model -----------------------------------------------------------------------------------------------------------


def _build_model(writer: GraphWriter, output: str, extensions: dict[str, int]) -> bytes:
    types = {"number": TensorProto.DOUBLE, "days": TensorProto.DOUBLE}  # all other transforms make texts
    given = [types.get(one.transform, TensorProto.STRING) for one in writer.inputs]
    inputs = [helper.make_tensor_value_info(f"in_{n}", kind, ["rows", 1]) for n, kind in enumerate(given)]
    width = 1 if output == "score" else None
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows", width])]
    nodes, constants = simplify(writer.nodes, writer.initializers, [one.name for one in inputs], output)
    graph = helper.make_graph(nodes, "brandhouse", inputs, outputs, constants)
    # sorted: the bytes must not depend on the order in which the converter met its operators
    opsets = [helper.make_opsetid(*one) for one in (("", OPSET), (ML_DOMAIN, ML_OPSET), *sorted(extensions.items()))]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="brandhouse", producer_version="1")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise NotCompilableError(f"the joined graph is not valid: {str(error).splitlines()[0][:200]}") from error
    return bytes(model.SerializeToString(deterministic=True))
