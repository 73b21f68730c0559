"""From typed rows to what an estimator sees: the one way, in training, serving and replay.

rows (canonical, see `contracts`) -> `build_features` of the brand -> `as_model_input` -> estimator.

Numbers become float32 before fitting, so that scikit-learn and ONNX Runtime compare the same numbers with the same
thresholds and no leaf of a tree can flip between them.
"""

from typing import Any

import numpy as np
import pandas as pd

from brandhouse_shared.brands import ModelCode
from brandhouse_shared.contracts import MISSING_TEXT
from brandhouse_shared.errors import EntrypointError


def build_model_input(code: ModelCode, rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Run the brand's `build_features` on a copy of `rows` and make its result canonical.

    Args:
        code: The model's module.
        rows: Canonical frame, one column per input field. Not changed.
        subject: Model key for messages.

    Returns:
        Frame of shape (rows, features): float32 columns and str columns, the index of `rows`.

    Raises:
        EntrypointError: If the brand's function raises or returns something else than a frame of as many rows.
    """
    try:
        features = code.build_features(rows.copy())
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise EntrypointError(f"{subject}: build_features raised {type(error).__name__}: {str(error)[:300]}") from error
    if not isinstance(features, pd.DataFrame):
        raise EntrypointError(f"{subject}: build_features returned {type(features).__name__}; allowed: a pandas DataFrame")
    if len(features) != len(rows) or not features.index.equals(rows.index):
        raise EntrypointError(
            f"{subject}: build_features returned {len(features)} rows for {len(rows)}, or in another order; "
            "one feature row per input row, with the same index"
        )
    return as_model_input(features, subject)


def as_model_input(features: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Make a feature frame canonical: numbers and booleans float32, texts str with "" for missing.

    Raises:
        EntrypointError: If a column is neither number nor text (such as a date), is named twice, or none is left.
    """
    if not len(features.columns):
        raise EntrypointError(f"{subject}: build_features returned no column")
    names = [str(name) for name in features.columns]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise EntrypointError(f"{subject}: build_features returned columns of the same name: {', '.join(twice[:5])}")
    columns: dict[str, Any] = {}
    for name, (_, series) in zip(names, features.items(), strict=True):
        if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
            columns[name] = series.to_numpy(dtype=np.float32, na_value=np.nan)
        elif pd.api.types.is_object_dtype(series) or pd.api.types.is_string_dtype(series):
            columns[name] = series.astype(object).where(series.notna(), MISSING_TEXT).astype(str).to_numpy(dtype=object)
        else:
            raise EntrypointError(f"{subject}: feature {name!r} has type {series.dtype}; allowed: numbers, booleans and texts")
    return pd.DataFrame(columns, index=features.index)
