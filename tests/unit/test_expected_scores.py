"""Estimates of scores without truth, and comparisons of scores: right on average, and no more sure than they may be."""

import numpy as np
import pytest
from numpy.typing import NDArray

from brandhouse_aftercare.expected_scores import Known, estimate_score, fit_calibration
from brandhouse_aftercare.quality_comparisons import measure
from brandhouse_aftercare.score_losses import Scored, improbable, loss_between, loss_to
from brandhouse_flows.scores import score
from brandhouse_shared.metrics import METRICS, Task

Sample = tuple[NDArray[np.int64], NDArray[np.float64]]


def classes_of(rng: np.random.Generator, rows: int, classes: int = 2, *, sure: float = 1.0, hard: float = 1.0) -> Sample:
    """Truths, and the probabilities of a model that is `sure` times as sure as it may be, on rows that are more or less clear."""
    scores = rng.normal(0, hard, (rows, classes))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    truth = (rng.random((rows, 1)) > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    told = np.exp(sure * scores)
    return truth.astype(np.int64), told / told.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", [name for name, one in METRICS.items() if Task.BINARY in one.tasks])
def test_a_binary_score_is_estimated_on_clearer_rows_than_were_learned_from(metric: str) -> None:
    rng = np.random.default_rng(1)
    truth, prediction = classes_of(rng, 1500)
    asked_truth, asked = classes_of(rng, 1500, hard=2.0)
    estimate = estimate_score(metric, Known(truth, prediction), asked)
    actual, before = score(metric, asked_truth, asked), score(metric, truth, prediction)
    assert estimate.low <= actual <= estimate.high
    assert abs(estimate.score - actual) < 0.25 * abs(before - actual), "nearer to the truth than to what was seen before"


def test_a_model_that_is_too_sure_is_not_believed() -> None:
    rng = np.random.default_rng(2)
    truth, prediction = classes_of(rng, 2000, 3, sure=3.0)
    asked_truth, asked = classes_of(rng, 2000, 3, sure=3.0)
    believed = float(asked.max(axis=1).mean())
    actual = score("accuracy", asked_truth, asked)
    estimate = estimate_score("accuracy", Known(truth, prediction), asked)
    assert believed - actual > 0.15, "the example is one"
    assert estimate.score == pytest.approx(actual, abs=0.03)


def test_calibration_finds_how_sure_a_model_may_be() -> None:
    truth, prediction = classes_of(np.random.default_rng(3), 5000, 3, sure=2.0)
    calibrated = fit_calibration(truth, prediction, np.ones(5000))(prediction)
    right = np.sqrt(prediction) / np.sqrt(prediction).sum(axis=1, keepdims=True)
    assert np.abs(calibrated - right).mean() < 0.02


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_a_regressions_score_follows_the_size_of_its_predictions(metric: str) -> None:
    rng = np.random.default_rng(4)

    def sample(low: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        prediction = rng.uniform(low, 200, 2000)
        return prediction + rng.normal(0, 1, 2000) * prediction / 10, prediction

    truth, prediction = sample(20)
    asked_truth, asked = sample(150)
    estimate = estimate_score(metric, Known(truth, prediction), asked)
    assert estimate.low <= score(metric, asked_truth, asked) <= estimate.high


def test_estimates_are_the_same_for_the_same_seed_and_few_rows_make_them_unsure() -> None:
    truth, prediction = classes_of(np.random.default_rng(5), 1000)
    known = Known(truth, prediction)
    assert estimate_score("log_loss", known, prediction, seed=1) == estimate_score("log_loss", known, prediction, seed=1)
    assert estimate_score("log_loss", known, prediction[:60]).error > 2 * estimate_score("log_loss", known, prediction).error


def test_an_estimate_of_what_has_no_value_is_not_a_number() -> None:
    truth, prediction = np.arange(60.0), np.arange(60.0)
    assert np.isnan(estimate_score("mape", Known(truth, prediction), np.zeros(5)).score)


def test_holms_rule_lets_the_smallest_open_the_way_for_the_next() -> None:
    assert improbable([0.02, 0.004, 0.9], 0.05) == [True, True, False]
    assert improbable([0.03, 0.02, 0.9], 0.05) == [False, False, False]
    assert improbable([], 0.05) == []


def test_losses_have_the_direction_of_their_metric() -> None:
    better, worse = Scored(0.9, 0.88, 0.92, 0.95), Scored(0.8, 0.78, 0.82, 0.95)
    assert loss_between("roc_auc", better, worse).loss == pytest.approx(0.1)
    assert loss_between("mae", better, worse).loss == pytest.approx(-0.1)
    assert loss_between("roc_auc", better, worse).chance < 1e-6
    assert loss_to("mae", 0.7, better).share == pytest.approx(0.2 / 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["mae", "rmse", "roc_auc", "log_loss"])
@pytest.mark.parametrize(("held_out", "labelled"), [(300, 150), (1000, 1000)])
def test_where_nothing_changed_chance_is_seldom_called_improbable(metric: str, held_out: int, labelled: int) -> None:
    rng = np.random.default_rng(0)

    def sample(rows: int) -> tuple[NDArray[np.int64] | NDArray[np.float64], NDArray[np.float64]]:
        if metric in ("mae", "rmse"):
            prediction = rng.normal(100, 20, rows)
            return prediction + 5 * rng.standard_t(4, rows), prediction
        return classes_of(rng, rows)

    chances = []
    for _ in range(400):
        before, now = measure(metric, *sample(held_out), 0.95, 200), measure(metric, *sample(labelled), 0.95, 200)
        chances.append(loss_between(metric, before, now).chance)
    assert np.mean(np.array(chances) < 0.01) <= 0.03
    assert np.mean(np.array(chances) < 0.001) <= 0.01
