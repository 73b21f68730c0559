"""Our contributions beside those of the shap library's exact explainer. Slow: shap compiles itself first, for half a minute."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from tests.fixtures.explained import Scores, explain, manifest_of, numbers

from brandhouse_shared.metrics import Task

pytestmark = pytest.mark.slow

REGRESSIONS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(8, max_depth=5, random_state=3),
    "neighbours": KNeighborsRegressor(4),
}


@pytest.fixture(scope="module")
def shap() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    return shap


def exact_values(shap: Any, ask: Scores, rows: np.ndarray[Any, Any], explained: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = shap.explainers.ExactExplainer(ask, shap.maskers.Independent(rows, max_samples=len(rows)))(explained)
    return found.base_values, found.values


@pytest.mark.parametrize("name", REGRESSIONS)
def test_contributions_to_a_number_are_those_of_shap(shap: Any, name: str) -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(120, 5)).round(1)
    model = REGRESSIONS[name].fit(rows, rows[:, 0] * 3 + rows[:, 1] * rows[:, 2] + np.sin(rows[:, 3]))
    bases, values = exact_values(shap, model.predict, rows[:25], rows[100:104])
    for row, base, expected in zip(rows[100:104], bases, values, strict=True):
        found = explain(model.predict, rows[:25], row, manifest_of(Task.REGRESSION, numbers(5)))
        assert found.method == "exact" and found.error == 0
        assert found.base == pytest.approx(base, abs=1e-6)
        assert list(found.contributions.values()) == pytest.approx(expected.tolist(), abs=1e-6), "shap says otherwise"


@pytest.mark.parametrize("model", [LogisticRegression(), RandomForestClassifier(8, max_depth=4, random_state=3)])
def test_contributions_to_a_positive_class_are_those_of_shap(shap: Any, model: Any) -> None:
    generator = np.random.default_rng(2)
    rows = generator.integers(0, 4, size=(150, 6)).astype(float)
    model.fit(rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 5).astype(int))
    manifest = manifest_of(Task.BINARY, numbers(6), ("no", "yes"), "yes")
    bases, values = exact_values(shap, lambda asked: model.predict_proba(asked)[:, 1], rows[:30], rows[100:103])
    for row, base, expected in zip(rows[100:103], bases, values, strict=True):
        found = explain(model.predict_proba, rows[:30], row, manifest)
        assert found.label == "yes", "the positive class is explained, whatever is predicted"
        assert found.base == pytest.approx(base, abs=1e-6)
        assert list(found.contributions.values()) == pytest.approx(expected.tolist(), abs=1e-6), "shap says otherwise"
