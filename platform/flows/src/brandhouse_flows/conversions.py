"""What the converter to ONNX lacks or gets wrong for fitted estimators, put right on a copy before it runs.

- Thresholds of histogram boosting are float64, and the converter rounds them to the nearest float32: a value between
  would change sides. The next float32 *below* asks the very same question of float32 values.
- Histogram boosting with a Poisson or gamma loss answers in logarithms; the converter forgets to raise them.
- Where an answer is raised at the end, the level of its logarithm is added in double precision.
- One-hot encoders that group rare values are not converted at all.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

LOG_LOSSES = ("poisson", "gamma")


class GroupingEncoder(OneHotEncoder):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted one-hot encoder with a shared column for rare values; a class of its own, so that only it is converted here."""


def prepare(parts: Iterable[Any]) -> None:
    """Change the estimators of a copy so that they convert rightly."""
    for part in parts:
        if isinstance(part, (HistGradientBoostingRegressor, HistGradientBoostingClassifier)) and hasattr(part, "_predictors"):
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
        "custom_conversion_functions": {GroupingEncoder: _convert_grouping},
        "custom_shape_calculators": {GroupingEncoder: _calculate_grouping_shape},
    }


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
