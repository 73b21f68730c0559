"""What every model must be better than: a dummy and a plain linear model on the same features."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from brandhouse_shared.metrics import Task

DUMMY = "dummy"
LINEAR = "linear"
MAX_TERMS = 5_000
MAX_ITERATIONS = 500
FREE_TEXT_SPACES = 2.0
"""Mean number of blanks a value from which a text column counts as free text and not as a category."""


def build_baselines(task: Task, features: pd.DataFrame) -> dict[str, Any]:
    """Return unfitted baselines by name for a canonical feature frame."""
    return {DUMMY: _dummy(task), LINEAR: build_linear(task, features)}


def _dummy(task: Task) -> Any:
    # The median is the constant with the smallest absolute error and is not moved by outliers.
    return DummyRegressor(strategy="median") if task is Task.REGRESSION else DummyClassifier(strategy="prior")


def build_linear(task: Task, features: pd.DataFrame) -> Any:
    """Return an unfitted linear model with the usual preparation of numbers, categories and free text."""
    numbers = [str(name) for name in features.columns if pd.api.types.is_numeric_dtype(features[name])]
    texts = [str(name) for name in features.columns if str(name) not in numbers]
    free = [name for name in texts if is_free_text(features[name])]
    categories = [name for name in texts if name not in free]
    steps: list[tuple[str, Any, Any]] = []
    if numbers:
        steps.append(("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers))
    if categories:
        steps.append(("categories", OneHotEncoder(handle_unknown="ignore", min_frequency=2), categories))
    # The default token pattern converts to ONNX without a word and is wrong there; this one is exact.
    steps += [
        (f"text_{index}", TfidfVectorizer(lowercase=False, token_pattern="[a-zA-Z0-9_]+", max_features=MAX_TERMS), name)  # noqa: S106 - no password
        for index, name in enumerate(free)
    ]
    model = Ridge() if task is Task.REGRESSION else LogisticRegression(max_iter=MAX_ITERATIONS)
    return make_pipeline(ColumnTransformer(steps), model)


def is_free_text(column: "pd.Series[Any]") -> bool:
    """Whether a text column holds sentences rather than categories, judged by its first 200 values."""
    return bool(column.head(200).str.count(" ").mean() >= FREE_TEXT_SPACES)
