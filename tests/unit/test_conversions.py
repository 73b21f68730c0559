"""What the converter to ONNX gets wrong is put right on a copy: thresholds, logarithms, shared columns of rare values."""

import copy
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from brandhouse_flows.agreement import RELATIVE_TOLERANCE, compare
from brandhouse_flows.compiling import NotCompilableError, compile_model
from brandhouse_flows.expressions import Kind, Node
from brandhouse_flows.tracing import Feature
from brandhouse_shared.metrics import Task


def run_compiled(estimator: Any, rows: pd.DataFrame, task: Task = Task.REGRESSION) -> Any:
    """Compile an estimator fitted on the columns of `rows`, and answer for these rows."""
    features = []
    for name, column in rows.items():
        kind = (Kind.TEXT, "text") if column.dtype == object else (Kind.NUMBER, "number")
        features.append(Feature(str(name), Node("input", kind[0], value=(name, kind[1]))))
    compiled = compile_model(features, estimator, task)
    session = onnxruntime.InferenceSession(compiled.content, providers=["CPUExecutionProvider"])
    feed = {
        f"in_{n}": rows[[one.field]].to_numpy(dtype=np.float64 if one.transform == "number" else object)
        for n, one in enumerate(compiled.inputs)
    }
    (answers,) = session.run(None, feed)
    return answers.astype(np.float64)[:, 0] if task is Task.REGRESSION else answers.astype(np.float64)


def make_neighbours(count: int = 40) -> pd.DataFrame:
    """Numbers so close that no float32 lies between them."""
    numbers = [np.float32(1.0)]
    while len(numbers) < count:
        numbers.append(np.nextafter(numbers[-1], np.float32(2.0)))
    return pd.DataFrame({"x": np.repeat(np.array(numbers, dtype=np.float32), 25)})


def test_a_threshold_between_neighbouring_numbers_stays_between_them() -> None:
    rows = make_neighbours()
    truth = np.repeat(np.arange(40) % 2, 25)
    regressor = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5).fit(rows, truth)
    classifier = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5).fit(rows, truth)
    assert compare(regressor.predict(rows), run_compiled(regressor, rows), Task.REGRESSION).agrees
    assert compare(classifier.predict_proba(rows), run_compiled(classifier, rows, Task.BINARY), Task.BINARY).agrees


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_a_loss_of_logarithms_is_raised(loss: str) -> None:
    rows = pd.DataFrame({"x": np.linspace(0, 3, 300, dtype=np.float32)})
    model = make_pipeline(HistGradientBoostingRegressor(loss=loss, max_iter=30)).fit(rows, np.exp(rows["x"]))
    assert compare(model.predict(rows), run_compiled(model, rows), Task.REGRESSION).agrees


REGRESSORS = {
    "forest": RandomForestRegressor(n_estimators=150, random_state=0),
    "extra trees": ExtraTreesRegressor(n_estimators=150, random_state=0),
    "boosting": HistGradientBoostingRegressor(max_iter=60),
    "ridge": Ridge(),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_level_of_large_logarithms_costs_no_precision(name: str) -> None:
    rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300).astype(np.float32)})
    model = TransformedTargetRegressor(REGRESSORS[name], func=np.log1p, inverse_func=np.expm1, check_inverse=False)
    model.fit(rows, np.exp(rows["x"].astype(float) + 25))
    before = copy.deepcopy(model).predict(rows)
    found = compare(before, run_compiled(model, rows), Task.REGRESSION)
    assert found.max_difference < RELATIVE_TOLERANCE / 3, found
    assert (model.predict(rows) == before).all(), "the fitted model itself is not changed"


def categories_of(count: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(3)
    first = random.choice(["a", "b", "c", "d", "e", ""], count, p=[0.4, 0.3, 0.2, 0.04, 0.03, 0.03])
    return pd.DataFrame({"first": first.astype(object), "second": random.choice(["x", "y"], count).astype(object)})


ENCODERS = {
    "rare and unknown share": {"handle_unknown": "infrequent_if_exist", "max_categories": 3},
    "rare share, unknown is nothing": {"handle_unknown": "ignore", "min_frequency": 30},
    "nothing is rare": {"handle_unknown": "infrequent_if_exist", "max_categories": 20},
    "all but one share": {"handle_unknown": "infrequent_if_exist", "max_categories": 2},
}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_rare_and_unknown_categories_count_as_in_scikit_learn(name: str, sparse: bool) -> None:
    rows = categories_of()
    truth = rows["first"].map({"a": 5.0, "b": 2.0, "c": -1.0, "d": 9.0, "e": 9.5, "": 10.0}) + (rows["second"] == "x")
    model = make_pipeline(OneHotEncoder(**ENCODERS[name], sparse_output=sparse), Ridge()).fit(rows, truth)
    asked = pd.concat([rows, pd.DataFrame({"first": ["unseen", "e", "a"], "second": ["x", "unseen", ""]}, dtype=object)], ignore_index=True)
    assert compare(model.predict(asked), run_compiled(model, asked), Task.REGRESSION).agrees


def test_an_encoder_that_drops_a_category_is_refused() -> None:
    rows = categories_of()
    model = make_pipeline(OneHotEncoder(max_categories=3, drop="first"), Ridge()).fit(rows, np.arange(300.0))
    with pytest.raises(NotCompilableError, match="drops some"):
        run_compiled(model, rows)
