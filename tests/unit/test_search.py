"""Candidates are chosen by cross-validation on training rows alone, within the budget."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from brandhouse_flows import search
from brandhouse_flows.search import ScorerHere, TrainingRows, build_candidate, choose_candidate, divide_into_folds, predict
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import DatasetError, EntrypointError
from brandhouse_shared.metrics import Task


def declare(task: str = "regression", metric: str = "mae", **more: Any) -> ModelConfig:
    fixed = {"entrypoint": "brand_casa.price", "dataset": "homes", "target": "price", "inputs": {"area": {"type": "number"}}}
    positive = {"positive": "yes"} if task == "binary" else {}
    return ModelConfig.model_validate({**fixed, "task": task, "metric": metric, **positive, **more})


def rows_of(target: Any, groups: Any = None) -> TrainingRows:
    target = np.asarray(target)
    return TrainingRows(pd.DataFrame({"area": np.linspace(-1, 1, len(target), dtype=np.float32)}), target, groups)


STEP = np.where(np.linspace(-1, 1, 90) > 0.2, 5.0, 0.0)
TREES = SimpleNamespace(build_estimator=lambda depth=1, kind="tree": DecisionTreeRegressor(max_depth=depth) if kind == "tree" else Ridge())


def test_single_candidate_without_a_space_is_taken_as_it_is() -> None:
    choice = choose_candidate(SimpleNamespace(), declare(candidates={"only": {"params": {"depth": 3}}}), rows_of(STEP), "casa/price")
    assert (choice.candidate, choice.params, choice.trials) == ("only", {"depth": 3}, ())


def test_best_candidate_is_chosen() -> None:
    model = declare(candidates={"line": {"params": {"kind": "line"}}, "tree": {}})
    choice = choose_candidate(TREES, model, rows_of(STEP), "casa/price")
    assert choice.candidate == "tree"
    assert [trial.candidate for trial in choice.trials] == ["line", "tree"]


def test_direction_of_the_metric_is_respected() -> None:
    model = declare(metric="r2", candidates={"line": {"params": {"kind": "line"}}, "tree": {}})
    assert choose_candidate(TREES, model, rows_of(STEP), "casa/price").candidate == "tree"


def test_search_is_repeatable_and_keeps_to_its_trials() -> None:
    wave = np.sin(np.linspace(0, 12, 90))
    space = {"depth": {"low": 1, "high": 8, "integer": True}}
    model = declare(candidates={"tree": {"space": space}}, search={"trials": 6})
    first, second = (choose_candidate(TREES, model, rows_of(wave), "casa/price") for _ in range(2))
    assert first.params == second.params
    assert len(first.trials) == 6
    assert first.params.get("depth", 1) > 2, "a stump does not follow a wave"
    assert all(isinstance(trial.params.get("depth", 1), int) for trial in first.trials)


@pytest.mark.parametrize("at_once", [3, 100])
def test_same_points_are_tried_whether_one_after_another_or_several_at_once(at_once: int) -> None:
    space = {"depth": {"choices": [-1, 1, 2, 3, 5, 8]}}  # -1 cannot be fitted
    model = declare(candidates={"line": {"params": {"kind": "line"}}, "tree": {"space": space}}, search={"trials": 25, "seconds": 600})
    wave = rows_of(np.sin(np.linspace(0, 12, 90)))

    class SeveralAtOnce(ScorerHere):
        def score(self, attempts: Any) -> Any:
            given.append(len(attempts))
            return super().score(attempts)

    given: list[int] = []
    SeveralAtOnce.at_once = at_once
    single = choose_candidate(TREES, model, wave, "casa/price")
    several = choose_candidate(TREES, model, wave, "casa/price", lambda contest: nullcontext(SeveralAtOnce(contest)))
    assert [(trial.params, repr(trial.score)) for trial in several.trials] == [(trial.params, repr(trial.score)) for trial in single.trials]
    assert max(given) == min(at_once, 10), "only points that depend on no score are given at once"
    assert given[-5:] == [1] * 5, "a point that depends on all scores before it waits for them"


def test_search_ends_with_its_seconds() -> None:
    model = declare(candidates={"tree": {"space": {"depth": {"choices": [1, 2, 3]}}}}, search={"trials": 10_000, "seconds": 0.2})
    assert 1 <= len(choose_candidate(TREES, model, rows_of(STEP), "casa/price").trials) < 10_000


def test_point_of_a_space_that_cannot_be_fitted_is_left_out() -> None:
    model = declare(candidates={"tree": {"params": {"depth": 1}, "space": {"depth": {"choices": [-1, 2]}}}}, search={"trials": 6})
    choice = choose_candidate(TREES, model, rows_of(np.sin(np.linspace(0, 12, 90))), "casa/price")
    assert choice.params == {"depth": 2}
    assert any(np.isnan(trial.score) for trial in choice.trials)


def test_declared_params_that_cannot_be_fitted_are_an_error() -> None:
    model = declare(candidates={"good": {}, "bad": {"params": {"depth": -1}}})
    with pytest.raises(EntrypointError, match="casa/price: fitting DecisionTreeRegressor raised InvalidParameterError"):
        choose_candidate(TREES, model, rows_of(STEP), "casa/price")


def test_misspelt_space_is_an_error_and_not_a_search_without_effect() -> None:
    model = declare(candidates={"tree": {"space": {"dept": {"low": 1, "high": 3}}}})
    with pytest.raises(EntrypointError, match=r"build_estimator\(dept\) of candidate 'tree' raised TypeError"):
        choose_candidate(TREES, model, rows_of(STEP), "casa/price")


def test_no_finite_score_is_an_error() -> None:
    model = declare(metric="mape", candidates={"a": {}, "b": {}})
    with pytest.raises(EntrypointError, match="no candidate has a finite mape on the training rows"):
        choose_candidate(TREES, model, rows_of(STEP), "casa/price")


def test_groups_stay_together() -> None:
    groups = np.repeat(np.arange(9), 10)
    model = declare(split={"kind": "grouped", "by": "agent"})
    for train, test in divide_into_folds(model, rows_of(STEP, groups), "casa/price"):
        assert not set(groups[train]) & set(groups[test])


def test_fewer_groups_than_folds_make_fewer_folds() -> None:
    model = declare(split={"kind": "grouped", "by": "agent"}, search={"folds": 5})
    assert len(divide_into_folds(model, rows_of(STEP, np.repeat([0, 1], 45)), "casa/price")) == 2
    with pytest.raises(DatasetError, match="casa/price: the training rows cannot be divided into folds"):
        divide_into_folds(model, rows_of(STEP, np.zeros(90)), "casa/price")


def test_time_folds_never_learn_from_the_future() -> None:
    model = declare(split={"kind": "time", "by": "listed"})
    assert all(train.max() < test.min() for train, test in divide_into_folds(model, rows_of(STEP), "casa/price"))


def test_folds_that_would_learn_one_class_are_left_out() -> None:
    model = declare("binary", "roc_auc", split={"kind": "time", "by": "listed"})
    late = np.r_[np.zeros(50, dtype=int), np.tile([0, 1], 20)]
    assert len(divide_into_folds(model, rows_of(late), "casa/price")) == 1
    never = np.r_[np.zeros(85, dtype=int), np.ones(5, dtype=int)]
    with pytest.raises(DatasetError, match="would learn from one class only"):
        divide_into_folds(model, rows_of(never), "casa/price")


def test_class_rarer_than_the_folds_is_searched_without_a_warning() -> None:
    model = declare("multiclass", "log_loss", candidates={"a": {}, "b": {"params": {"C": 0.5}}})
    code = SimpleNamespace(build_estimator=lambda C=1.0: LogisticRegression(C=C))
    target = np.r_[np.zeros(60, dtype=int), np.ones(28, dtype=int), [2, 2]]
    assert choose_candidate(code, model, rows_of(target), "casa/topic").candidate in ("a", "b")


def test_class_that_a_fit_did_not_see_gets_probability_zero() -> None:
    features = pd.DataFrame({"area": [0.0, 1.0]})
    tree = DecisionTreeClassifier().fit(features, [0, 2])
    assert predict(tree, Task.MULTICLASS, features, "casa/topic", classes=3).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_prediction_of_the_wrong_shape_is_refused() -> None:
    odd = SimpleNamespace(predict=lambda features: np.zeros((len(features), 2)))
    with pytest.raises(EntrypointError, match=r"predicts an array of shape \(3, 2\); allowed: \(3,\)"):
        predict(odd, Task.REGRESSION, pd.DataFrame({"a": [1, 2, 3]}), "casa/price")


def test_estimator_without_fit_is_refused() -> None:
    with pytest.raises(EntrypointError, match="build_estimator returned str; allowed: a scikit-learn estimator"):
        build_candidate(SimpleNamespace(build_estimator=lambda: "forest"), "casa/price", "default", {})


def test_a_small_fit_keeps_to_one_thread_and_a_large_one_may_use_all() -> None:
    from threadpoolctl import threadpool_info

    seen: list[set[int]] = []

    class Watched:
        def fit(self, features: pd.DataFrame, target: np.ndarray) -> "Watched":
            seen.append({pool["num_threads"] for pool in threadpool_info()})
            return self

    usual = {pool["num_threads"] for pool in threadpool_info()}
    for rows in (search.THREADED_ROWS - 1, search.THREADED_ROWS):
        search.fit(Watched(), pd.DataFrame({"x": np.zeros(rows)}), np.zeros(rows), "casa/price")
    assert seen == [{1}, usual]
