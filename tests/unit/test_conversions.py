"""What the converter to ONNX gets wrong is put right on a copy: thresholds, logarithms, shared columns of rare values."""

import copy
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

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


def numbered_categories(count: int = 1200) -> tuple[pd.DataFrame, Any]:
    """A number, then two columns of numbered categories, with gaps between the numbers and missing ones."""
    random = np.random.default_rng(5)
    sparse = random.choice([-3.0, 0.0, 2.0, 7.0, 7.5, 40.0, np.nan], count)
    many = random.integers(0, 60, count).astype(float)
    rows = pd.DataFrame({"x": random.normal(size=count), "sparse": sparse, "many": many}, dtype=np.float32)
    return rows, rows["x"] + np.isin(sparse, [2.0, 7.5]) * 3 + (many % 7 == 3) * 5 + np.isnan(sparse)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_native_categories_of_boosting_ask_the_same_questions(loss: str) -> None:
    rows, truth = numbered_categories()
    model = HistGradientBoostingRegressor(loss=loss, max_iter=40, categorical_features=[1, 2]).fit(rows, truth - truth.min())
    assert sum(int(tree.nodes["is_categorical"].sum()) for trees in model._predictors for tree in trees) > 20, "there is something to try"
    unknown = [-4.0, -0.5, 1.0, 7.25, 8.0, 41.0, 1e9, -1e9, float(np.nextafter(np.float32(7), np.float32(8))), np.nan]
    asked = pd.DataFrame([(0.3, one, other) for one in unknown for other in (*unknown, 3.0, 17.0)], columns=rows.columns, dtype=np.float32)
    asked = pd.concat([rows, asked], ignore_index=True)
    found = compare(model.predict(asked), run_compiled(model, asked), Task.REGRESSION)
    assert found.max_difference < RELATIVE_TOLERANCE / 3, found


def test_native_categories_of_a_classifier_agree_too() -> None:
    rows, truth = numbered_categories()
    labels = np.digitize(truth, np.quantile(truth, [0.3, 0.7]))
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features=[2]).fit(rows, labels)
    assert compare(model.predict_proba(rows), run_compiled(model, rows, Task.MULTICLASS), Task.MULTICLASS).agrees


def test_native_categories_that_are_texts_are_refused_with_what_to_do() -> None:
    rows = categories_of()
    model = HistGradientBoostingRegressor(categorical_features=["first", "second"]).fit(rows, np.arange(300.0))
    with pytest.raises(NotCompilableError, match="number them with an OrdinalEncoder before"):
        run_compiled(model, rows)


def numbers_with_gaps() -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = pd.DataFrame(random.gamma(2, 3, (300, 3)), columns=["a", "b", "c"], dtype=np.float32)
    rows.loc[::5, "a"] = np.nan
    rows.loc[::7, "c"] = np.nan
    return rows


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_an_imputer_also_says_what_was_missing(strategy: str) -> None:
    rows = numbers_with_gaps()
    model = make_pipeline(SimpleImputer(strategy=strategy, add_indicator=True), Ridge()).fit(rows, np.arange(300.0))
    asked = pd.concat([rows, pd.DataFrame([[np.nan] * 3, [1.0, np.nan, 2.0]], columns=rows.columns, dtype=np.float32)], ignore_index=True)
    assert compare(model.predict(asked), run_compiled(model, asked), Task.REGRESSION).agrees, "also where training missed none"


def test_an_imputer_with_indicators_of_a_column_that_is_always_missing_is_refused() -> None:
    rows = numbers_with_gaps().assign(b=np.float32(np.nan))
    with pytest.warns(UserWarning, match="without any observed values"):
        model = make_pipeline(SimpleImputer(add_indicator=True), Ridge()).fit(rows, np.arange(300.0))
    with pytest.raises(NotCompilableError, match="always missing"):
        run_compiled(model, rows)


@pytest.mark.parametrize("function", [np.log, np.log1p, np.exp, np.expm1, np.sqrt, np.square, np.abs, np.sign])
def test_a_function_of_numpy_is_applied_to_each_number(function: Any) -> None:
    rows = numbers_with_gaps().fillna(2.5).clip(0.01, 5)
    steps = ColumnTransformer([("same", FunctionTransformer(function), ["a", "c"]), ("rest", "passthrough", ["b"])])
    model = make_pipeline(steps, Ridge()).fit(rows, np.arange(300.0))
    assert compare(model.predict(rows), run_compiled(model, rows), Task.REGRESSION).agrees


def test_another_function_is_refused() -> None:
    rows = numbers_with_gaps().fillna(0)
    model = make_pipeline(FunctionTransformer(np.cbrt), Ridge()).fit(rows, np.arange(300.0))
    with pytest.raises(NotCompilableError, match="FunctionTransformer is not supported"):
        run_compiled(model, rows)


def test_sublinear_word_counts_are_one_plus_the_logarithm() -> None:
    words = ["a b b", "b b b b", "c", "", "a a a a a b c", "d e"] * 20
    rows = pd.DataFrame({"text": words}, dtype=object)
    vectorizer = TfidfVectorizer(token_pattern="[a-z]+", lowercase=False, sublinear_tf=True)
    model = make_pipeline(ColumnTransformer([("text", vectorizer, "text")]), Ridge()).fit(rows, np.arange(120.0))
    assert compare(model.predict(rows), run_compiled(model, rows), Task.REGRESSION).agrees


@pytest.mark.parametrize("classes", [2, 3])
def test_a_discriminant_analysis_is_as_sure_as_in_scikit_learn(classes: int) -> None:
    rows = numbers_with_gaps().fillna(1)
    task = Task.BINARY if classes == 2 else Task.MULTICLASS
    model = LinearDiscriminantAnalysis().fit(rows, np.digitize(rows["a"], [3.0, 6.0][: classes - 1]))
    assert compare(model.predict_proba(rows), run_compiled(model, rows, task), task).agrees
