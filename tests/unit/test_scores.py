"""Scores and their intervals, against scikit-learn by brute force and by simulation."""

import time
import warnings
from typing import Any

import numpy as np
import pytest

from brandhouse_flows.scores import bootstrap, score, undefined_reason
from brandhouse_shared.metrics import METRICS, Task

Array = np.ndarray[Any, Any]


def make_holdout(metric: str, rows: int = 300, seed: int = 0, predictions: int = 2) -> tuple[Array, list[Array]]:
    """Truth and predictions of falling quality that fit the metric."""
    generator = np.random.default_rng(seed)
    if Task.REGRESSION in METRICS[metric].tasks:
        truth = generator.normal(100, 20, rows)
        return truth, [truth + generator.normal(0, 8 * (place + 1), rows) for place in range(predictions)]
    classes = 3 if Task.MULTICLASS in METRICS[metric].tasks else 2
    truth = generator.integers(0, classes, rows)
    leanings = [np.eye(classes)[truth] * 1.5 / (place + 1) + generator.normal(0, 1, (rows, classes)) for place in range(predictions)]
    return truth, [np.exp(leaning) / np.exp(leaning).sum(axis=1, keepdims=True) for leaning in leanings]


def drawn_rows(rows: int, seed: int, resamples: int) -> Array:
    """The rows that `bootstrap` draws: its documented source of randomness."""
    return np.random.default_rng(seed).integers(0, rows, (resamples, rows))


@pytest.mark.parametrize("metric", METRICS)
def test_bootstrap_equals_scikit_learn_on_every_resample(metric: str) -> None:
    truth, (ours, theirs) = make_holdout(metric)
    report = bootstrap(metric, truth, ours, {"linear": theirs}, seed=5, resamples=60)
    drawn = drawn_rows(len(truth), 5, 60)
    scores = np.array([[score(metric, truth[rows], prediction[rows]) for rows in drawn] for prediction in (ours, theirs)])
    sign = 1 if METRICS[metric].greater_is_better else -1
    gains = sign * (scores[0] - scores[1])
    assert (report.low, report.high) == pytest.approx(tuple(np.quantile(scores[0], [0.025, 0.975])), rel=1e-9)
    linear = report.differences["linear"]
    assert (linear.low, linear.high) == pytest.approx(tuple(np.quantile(gains, [0.025, 0.975])), rel=1e-7, abs=1e-12)
    assert linear.gain == pytest.approx(sign * (score(metric, truth, ours) - score(metric, truth, theirs)))
    assert linear.gain > 0, "the better prediction gains, whatever the metric's direction"


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_ranked_metrics_count_ties_as_scikit_learn_does(metric: str) -> None:
    truth, (prediction, _) = make_holdout(metric)
    rounded = np.round(prediction, 1)
    report = bootstrap(metric, truth, rounded, seed=1, resamples=40)
    scores = [score(metric, truth[rows], rounded[rows]) for rows in drawn_rows(len(truth), 1, 40)]
    assert (report.low, report.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), rel=1e-9)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy", "macro_f1"])
def test_classes_that_a_slice_lacks_do_not_stop_the_score(metric: str) -> None:
    truth, (prediction, _) = make_holdout(metric)
    mask = truth != 2
    report = bootstrap(metric, truth[mask], prediction[mask], resamples=30, seed=2)
    scores = [score(metric, truth[mask][rows], prediction[mask][rows]) for rows in drawn_rows(int(mask.sum()), 2, 30)]
    assert (report.low, report.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), rel=1e-9)


@pytest.mark.parametrize(("metric", "rows"), [("mae", 120), ("accuracy", 150), ("roc_auc", 150)])
def test_interval_covers_the_true_score_about_as_often_as_it_says(metric: str, rows: int) -> None:
    large, (prediction, *_) = make_holdout(metric, 200_000, seed=9, predictions=1)
    true_score = score(metric, large, prediction)
    generator = np.random.default_rng(0)
    trials = 300
    hits = 0
    for trial in range(trials):
        chosen = generator.integers(0, len(large), rows)
        report = bootstrap(metric, large[chosen], prediction[chosen], seed=trial, resamples=200)
        hits += report.low <= true_score <= report.high
    assert 0.90 <= hits / trials <= 0.99, f"a 95 % interval covered {hits} of {trials}"


def test_grouped_interval_covers_where_an_interval_over_rows_does_not() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    hits = {"rows": 0, "groups": 0}
    for trial in range(150):
        errors = generator.normal(0, 1, 30)[groups] + generator.normal(0, 0.1, len(groups))
        truth = np.zeros(len(groups))
        for kind, given in (("rows", None), ("groups", groups)):
            report = bootstrap("mae", truth, errors, seed=trial, resamples=200, groups=given)
            hits[kind] += report.low <= np.sqrt(2 / np.pi * 1.01) <= report.high
    assert hits["groups"] > 130, hits
    assert hits["rows"] < 80, hits


def test_groups_are_resampled_as_wholes_and_counted() -> None:
    truth, (prediction, _) = make_holdout("mae", 100)
    report = bootstrap("mae", truth, prediction, groups=np.repeat(["a", "b", "c", "d"], 25), resamples=50)
    assert report.groups == 4
    alone = bootstrap("mae", truth, prediction, groups=np.array(["one"] * 100), resamples=50)
    assert alone.low == pytest.approx(alone.high), "one group drawn once is always the same sample"


def test_same_seed_gives_the_same_report() -> None:
    truth, (prediction, other) = make_holdout("roc_auc")
    first, again = (bootstrap("roc_auc", truth, prediction, {"dummy": other}, seed=4) for _ in range(2))
    assert first == again


def test_identical_predictions_differ_by_exactly_nothing() -> None:
    truth, (prediction, _) = make_holdout("log_loss")
    difference = bootstrap("log_loss", truth, prediction, {"production": prediction.copy()}).differences["production"]
    assert (difference.gain, difference.low, difference.high) == (0, 0, 0)


def test_large_holdout_is_resampled_in_rounds_of_bounded_memory() -> None:
    truth, (prediction, _) = make_holdout("mae", 30_000)
    report = bootstrap("mae", truth, prediction, resamples=100)
    assert report.low < report.score < report.high
    assert report.high - report.low < 0.02 * report.score * 5


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_single_class_has_no_ranking_score_and_says_why(metric: str) -> None:
    truth, prediction = np.ones(20, dtype=np.int64), np.full((20, 2), 0.5)
    report = bootstrap(metric, truth, prediction, {"dummy": prediction})
    assert np.isnan(report.score)
    assert np.isnan(report.low)
    assert np.isnan(report.differences["dummy"].low)
    assert report.reason == "all rows are of one class"


def test_sure_and_wrong_probability_gives_a_finite_log_loss() -> None:
    prediction = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert 0 < score("log_loss", np.array([1, 1]), prediction) < 40


def test_float32_probabilities_are_scored_without_a_warning() -> None:
    truth, (prediction, _) = make_holdout("log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score("log_loss", truth, prediction.astype(np.float32)) == pytest.approx(score("log_loss", truth, prediction), rel=1e-5)


@pytest.mark.parametrize(
    ("metric", "truth", "prediction", "reason"),
    [
        ("mape", [0.0, 1.0], [1.0, 1.0], "the target is zero in some rows"),
        ("r2", [1.0, 1.0], [1.0, 2.0], "the target is the same in all rows"),
        ("mae", [1.0, 2.0], [np.nan, 2.0], "values that are not finite"),
        ("rmse", [], [], "there are no rows"),
        ("f1", [0, 0], [[0.9, 0.1], [0.8, 0.2]], "no row is positive"),
    ],
)
def test_undefined_score_is_nan_with_a_reason(metric: str, truth: list[Any], prediction: list[Any], reason: str) -> None:
    answers, given = np.array(truth), np.array(prediction)
    assert np.isnan(score(metric, answers, given))
    assert reason in undefined_reason(metric, answers, given)
    assert reason in bootstrap(metric, answers, given).reason


def test_broken_production_prediction_leaves_the_own_score_intact() -> None:
    truth, (prediction, _) = make_holdout("mae")
    report = bootstrap("mae", truth, prediction, {"production": np.full(len(truth), np.nan)})
    assert report.low < report.score < report.high
    assert np.isnan(report.differences["production"].gain)


def test_prediction_of_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"roc_auc needs a prediction of shape \(rows, classes\) for 3 rows"):
        score("roc_auc", np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("metric", ["rmse", "log_loss", "roc_auc", "average_precision"])
def test_report_on_2500_rows_with_three_others_is_fast(metric: str) -> None:
    truth, (prediction, *others) = make_holdout(metric, 2_500, predictions=4)
    named = dict(zip(("dummy", "linear", "production"), others, strict=True))
    bootstrap(metric, truth, prediction, named)
    spent = []
    for _ in range(3):
        started = time.process_time()
        bootstrap(metric, truth, prediction, named)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.3, f"{1000 * min(spent):.0f} ms of processor time; it takes some 20 to 80"
