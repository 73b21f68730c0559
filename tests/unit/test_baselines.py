"""The baselines take any canonical feature frame: numbers with gaps, categories, free text, or only one of them."""

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.baselines import build_baselines, is_free_text
from brandhouse_shared.metrics import Task

ROWS = 60
NUMBERS = pd.DataFrame({"area": np.where(np.arange(ROWS) % 7 == 0, np.nan, np.arange(ROWS))}, dtype=np.float32)
CATEGORIES = pd.DataFrame({"town": np.tile(["Delft", "Gouda", ""], ROWS // 3)}, dtype=object)
TEXTS = pd.DataFrame({"letter": [f"the home number {number} is for sale" for number in range(ROWS)]}, dtype=object)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("features", [NUMBERS, CATEGORIES, TEXTS, pd.concat([NUMBERS, CATEGORIES, TEXTS], axis=1)])
def test_both_baselines_fit_every_kind_of_features(task: Task, features: pd.DataFrame) -> None:
    classes = {Task.REGRESSION: 0, Task.BINARY: 2, Task.MULTICLASS: 3}[task]
    target = np.arange(ROWS) % classes if classes else np.arange(ROWS, dtype=float)
    for name, baseline in build_baselines(task, features).items():
        baseline.fit(features, target)
        answer = baseline.predict(features) if not classes else baseline.predict_proba(features)
        assert answer.shape == ((ROWS, classes) if classes else (ROWS,)), name
        assert np.isfinite(answer).all(), name


def test_dummy_of_a_regression_is_the_median() -> None:
    prices = np.r_[np.full(ROWS - 1, 10.0), 1e9]
    assert build_baselines(Task.REGRESSION, NUMBERS)["dummy"].fit(NUMBERS, prices).predict(NUMBERS)[0] == 10


def test_linear_baseline_follows_a_line() -> None:
    features = pd.DataFrame({"area": np.arange(ROWS, dtype=np.float32)})
    baseline = build_baselines(Task.REGRESSION, features)["linear"].fit(features, features["area"] * 3)
    assert np.abs(baseline.predict(features) - features["area"] * 3).max() < 3


def test_category_that_was_never_seen_is_no_error() -> None:
    baseline = build_baselines(Task.REGRESSION, CATEGORIES)["linear"].fit(CATEGORIES, np.arange(ROWS, dtype=float))
    assert np.isfinite(baseline.predict(pd.DataFrame({"town": ["Zwolle"]}, dtype=object))).all()


def test_sentences_are_free_text_and_names_are_not() -> None:
    assert is_free_text(TEXTS["letter"])
    assert not is_free_text(CATEGORIES["town"])
