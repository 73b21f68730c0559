"""What the converter to ONNX lacks or gets wrong for fitted estimators, put right on a copy before it runs.

- Thresholds of histogram boosting are float64, and the converter rounds them to the nearest float32: a value between
  would change sides. The next float32 *below* asks the very same question of float32 values.
- Histogram boosting with native categories is converted as if they were numbers (`category_splits`).
- Histogram boosting with a Poisson or gamma loss answers in logarithms; the converter forgets to raise them.
- Where an answer is raised at the end, the level of its logarithm is added in double precision.
- One-hot encoders that group rare values are not converted at all; nor imputers that add indicators, nor a
  FunctionTransformer, of which a few functions of NumPy are here.
- A discriminant analysis of two classes is converted with its score doubled.
- `sublinear_tf` becomes log(1 + count) where scikit-learn takes 1 + log(count), and nothing of zero.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from brandhouse_flows.category_splits import spread_categories

LOG_LOSSES = ("poisson", "gamma")

FUNCTIONS: Mapping[Any, tuple[str, ...]] = {
    np.log: ("Log",),
    np.log1p: ("plus one", "Log"),
    np.exp: ("Exp",),
    np.expm1: ("Exp", "minus one"),
    np.sqrt: ("Sqrt",),
    np.square: ("square",),
    np.abs: ("Abs",),
    np.sign: ("Sign",),
}
"""What a FunctionTransformer may apply, and the operations that it becomes, in double precision."""


class GroupingEncoder(OneHotEncoder):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted one-hot encoder with a shared column for rare values; a class of its own, so that only it is converted here."""


class IndicatingImputer(SimpleImputer):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted imputer of numbers that also says which were missing; a class of its own, as above."""


class ElementFunction(FunctionTransformer):  # type: ignore[misc]  # scikit-learn has no types
    """A FunctionTransformer of one of `FUNCTIONS`; a class of its own, as above."""


def prepare(parts: Iterable[Any]) -> None:
    """Change the estimators of a copy so that they convert rightly."""
    for part in parts:
        if type(part) is SimpleImputer and part.add_indicator and getattr(part, "indicator_", None) is not None:
            part.__class__ = IndicatingImputer
        if type(part) is FunctionTransformer and _is_known_function(part):
            part.__class__ = ElementFunction
        if isinstance(part, LinearDiscriminantAnalysis) and len(part.classes_) == 2:
            part.coef_, part.intercept_ = part.coef_ / 2, part.intercept_ / 2  # exact: halving changes the exponent only
        if isinstance(part, (HistGradientBoostingRegressor, HistGradientBoostingClassifier)) and hasattr(part, "_predictors"):
            spread_categories(part)
            _lower_thresholds(part)
        if type(part) is OneHotEncoder and getattr(part, "_infrequent_enabled", False) and hasattr(part, "categories_"):
            _open_or_group(part)


def answers_in_logarithms(model: Any) -> bool:
    """Whether the graph of a regression, or of the last step of its pipeline, must be raised to be an answer."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    return isinstance(last, HistGradientBoostingRegressor) and last.loss in LOG_LOSSES


def take_out_level(model: Any) -> float:
    """Take the mean level out of a fitted regression and return it, to be added in double precision before it is raised.

    Single precision is relative to what is summed: of logarithms around 14 it leaves an error that, raised, is a large
    share of the tolerance; of their differences from the level it leaves a small one.
    """
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if isinstance(last, HistGradientBoostingRegressor):
        level = float(last._baseline_prediction.ravel()[0])
        last._baseline_prediction = np.zeros_like(last._baseline_prediction)
        return level
    if isinstance(last, (RandomForestRegressor, ExtraTreesRegressor)) and last.n_outputs_ == 1:
        level = float(np.mean([tree.tree_.value[0, 0, 0] for tree in last.estimators_]))
        for tree in last.estimators_:
            tree.tree_.value[:] -= level
        return level
    if isinstance(last, Ridge) and np.ndim(last.intercept_) == 0:
        level, last.intercept_ = float(last.intercept_), 0.0
        return level
    return 0.0


def custom_converters() -> dict[str, Any]:
    """Arguments of `convert_sklearn` for the classes defined here."""
    return {
        "custom_conversion_functions": {
            GroupingEncoder: _convert_grouping,
            IndicatingImputer: _convert_indicating,
            ElementFunction: _convert_function,
        },
        "custom_shape_calculators": {
            GroupingEncoder: _calculate_grouping_shape,
            IndicatingImputer: _calculate_indicating_shape,
            ElementFunction: _calculate_function_shape,
        },
    }


def repair(graph: Any) -> None:
    """Put right what the converter wrote wrongly: sublinear word counts."""
    from onnx import helper

    nodes = []
    for node in graph.node:
        if node.op_type == "Add" and node.output[0].startswith("plus1"):
            continue
        if node.op_type == "Log" and node.output[0].startswith("plus1logged"):
            added = next(one for one in graph.node if one.output[0] == node.input[0])
            count, ones = added.input
            raised, logged, plus_one, present = (f"{node.output[0]}_{what}" for what in ("raised", "log", "plus_one", "present"))
            nodes += [
                helper.make_node("Max", [count, ones], [raised], raised),  # counts are whole: at least one, or zero
                helper.make_node("Log", [raised], [logged], logged),
                helper.make_node("Add", [logged, ones], [plus_one], plus_one),
                helper.make_node("Min", [count, ones], [present], present),
                helper.make_node("Mul", [plus_one, present], [node.output[0]], node.output[0]),
            ]
            continue
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _is_known_function(part: Any) -> bool:
    return part.func in FUNCTIONS and not part.kw_args


def _lower_thresholds(model: Any) -> None:
    for trees in model._predictors:
        for tree in trees:
            tree.nodes["num_threshold"] = _float32_at_most(tree.nodes["num_threshold"])


def _float32_at_most(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The largest float32 that is not above each value."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > values, below, nearest).astype(np.float64)


def _open_or_group(encoder: Any) -> None:
    """Mark an encoder that groups; one that had nothing to group is an ordinary one that ignores unknown values."""
    if any(indices is not None for indices in encoder._infrequent_indices):
        encoder.__class__ = GroupingEncoder
    elif encoder.handle_unknown == "infrequent_if_exist":
        encoder._infrequent_enabled = False
        encoder.handle_unknown = "ignore"


def _columns_of(encoder: Any, place: int) -> tuple["np.ndarray[Any, Any]", int, int]:
    """For one input column: the output column of each category, how many there are, and that of an unknown value (-1: none)."""
    mapping = encoder._default_to_infrequent_mappings[place]
    if mapping is None:
        return np.arange(len(encoder.categories_[place])), len(encoder.categories_[place]), -1
    width = int(mapping.max()) + 1
    return mapping, width, width - 1 if encoder.handle_unknown == "infrequent_if_exist" else -1


def _calculate_grouping_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    encoder = operator.raw_operator
    width = sum(_columns_of(encoder, place)[1] for place in range(len(encoder.categories_)))
    operator.outputs[0].type = FloatTensorType([None, width])


def _convert_grouping(scope: Any, operator: Any, container: Any) -> None:
    encoder = operator.raw_operator
    if len(operator.inputs) != 1 or any(categories.dtype != object for categories in encoder.categories_) or encoder.drop is not None:
        raise NotImplementedError("a one-hot encoder that groups rare values of other than texts, or drops some")
    blocks = [_write_column(scope, operator.inputs[0].full_name, encoder, place, container) for place in range(len(encoder.categories_))]
    container.add_node("Concat", blocks, operator.outputs[0].full_name, name=scope.get_unique_operator_name("grouped"), axis=1)


def _write_column(scope: Any, rows: str, encoder: Any, place: int, container: Any) -> str:
    """One column of texts -> its block of zeros and ones."""
    from onnx import TensorProto

    columns, width, unknown = _columns_of(encoder, place)
    names: list[str] = [scope.get_unique_variable_name(f"grouped_{what}") for what in ("place", "text", "column", "range", "hit", "block")]
    at, text, column, numbered, hit, block = names
    container.add_initializer(at, TensorProto.INT64, [1], [place])
    container.add_initializer(numbered, TensorProto.INT64, [1, width], list(range(width)))
    container.add_node("Gather", [rows, at], text, name=scope.get_unique_operator_name("grouped"), axis=1)
    container.add_node(
        "LabelEncoder",
        text,
        column,
        op_domain="ai.onnx.ml",
        op_version=2,
        name=scope.get_unique_operator_name("grouped"),
        keys_strings=[str(one) for one in encoder.categories_[place]],
        values_int64s=[int(one) for one in columns],
        default_int64=unknown,
    )
    container.add_node("Equal", [column, numbered], hit, op_version=19, name=scope.get_unique_operator_name("grouped"))
    container.add_node("Cast", hit, block, op_version=19, name=scope.get_unique_operator_name("grouped"), to=TensorProto.FLOAT)
    return block


def _width(operator: Any) -> int:
    return sum(int(one.type.shape[1]) for one in operator.inputs)


def _calculate_indicating_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    kept = _kept_columns(operator.raw_operator)
    operator.outputs[0].type = FloatTensorType([None, len(kept) + len(operator.raw_operator.indicator_.features_)])


def _kept_columns(imputer: Any) -> list[int]:
    """Columns that had a value in training; the others scikit-learn leaves out."""
    return [place for place, value in enumerate(_filled_with(imputer)) if not np.isnan(value)]


def _filled_with(imputer: Any) -> "np.ndarray[Any, Any]":
    """What is filled in, a number a column.

    Raises:
        NotImplementedError: If it is not missing numbers that are filled in.
    """
    if not isinstance(imputer.missing_values, float) or not np.isnan(imputer.missing_values) or isinstance(imputer.fill_value, str):
        raise NotImplementedError("an imputer with indicators of other than missing numbers")
    return np.asarray(imputer.statistics_, dtype=np.float32)


def _convert_indicating(scope: Any, operator: Any, container: Any) -> None:
    """Numbers with the missing ones filled in, then a column of zeros and ones for each column that missed some."""
    from onnx import TensorProto

    imputer = operator.raw_operator
    if len(operator.inputs) != 1:
        raise NotImplementedError("an imputer with indicators, of several blocks of columns")
    if len(_kept_columns(imputer)) < len(imputer.statistics_):
        raise NotImplementedError("an imputer with indicators, of a column that is always missing")
    rows = operator.inputs[0].full_name
    filled, features, missed, flag, block = (
        scope.get_unique_variable_name(f"imputed_{what}") for what in ("rows", "features", "missed", "flag", "block")
    )
    name = scope.get_unique_operator_name
    values = {"imputed_value_floats": _filled_with(imputer), "replaced_value_float": float("nan")}
    container.add_node("Imputer", rows, filled, op_domain="ai.onnx.ml", name=name("imputed"), **values)
    container.add_initializer(
        features, TensorProto.INT64, [len(imputer.indicator_.features_)], [int(one) for one in imputer.indicator_.features_]
    )
    container.add_node("Gather", [rows, features], missed, name=name("imputed"), axis=1)
    container.add_node("IsNaN", missed, flag, op_version=20, name=name("imputed"))
    container.add_node("Cast", flag, block, op_version=19, name=name("imputed"), to=TensorProto.FLOAT)
    container.add_node("Concat", [filled, block], operator.outputs[0].full_name, name=name("imputed"), axis=1)


def _calculate_function_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    operator.outputs[0].type = FloatTensorType([None, _width(operator)])


def _convert_function(scope: Any, operator: Any, container: Any) -> None:
    """One of `FUNCTIONS`, element by element."""
    from onnx import TensorProto

    def emit(operation: str, inputs: Any, **options: Any) -> str:
        output: str = scope.get_unique_variable_name("function")
        container.add_node(operation, inputs, output, name=scope.get_unique_operator_name("function"), **options)
        return output

    inputs = [one.full_name for one in operator.inputs]
    value = emit("Cast", emit("Concat", inputs, axis=1) if len(inputs) > 1 else inputs[0], op_version=19, to=TensorProto.DOUBLE)
    one = scope.get_unique_variable_name("function_one")
    container.add_initializer(one, TensorProto.DOUBLE, [1], [1.0])
    for step in FUNCTIONS[operator.raw_operator.func]:
        match step:
            case "plus one":
                value = emit("Add", [value, one], op_version=14)
            case "minus one":
                value = emit("Sub", [value, one], op_version=14)
            case "square":
                value = emit("Mul", [value, value], op_version=14)
            case _:
                value = emit(step, value, op_version=13)
    container.add_node(
        "Cast", value, operator.outputs[0].full_name, op_version=19, name=scope.get_unique_operator_name("function"), to=TensorProto.FLOAT
    )
