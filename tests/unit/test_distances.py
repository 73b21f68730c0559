"""Distances of shares, their intervals, and how many rows it takes."""

import math

import numpy as np
import pytest
import scipy.stats

from brandhouse_aftercare.distances import holm, measure_distance, reference_rows_needed, rows_needed, target_effect
from brandhouse_aftercare.tails import binomial_at_least, drawn_at_least, poisson_at_least, poisson_at_most

TENTHS = np.full(10, 300.0)


def test_the_distance_is_the_share_of_rows_that_lie_elsewhere() -> None:
    distance = measure_distance(np.array([5_000.0, 5_000.0]), np.array([8_000, 2_000]), alpha=0.01)
    assert distance.measured == pytest.approx(0.3)
    assert distance.effect == pytest.approx(0.3, abs=0.01)
    assert distance.low < 0.3 < distance.high


def test_equal_samples_have_no_effect_and_are_no_proof_of_one() -> None:
    distance = measure_distance(TENTHS, np.full(10, 20), alpha=0.001)
    assert (distance.measured, distance.effect, distance.probability) == (0.0, 0.0, 1.0)


def test_chance_alone_is_seldom_called_an_effect() -> None:
    rng = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    effects = []
    for _ in range(400):
        before = rng.multinomial(500, shares).astype(float)
        effects.append(measure_distance(before, rng.multinomial(200, shares), alpha=0.05))
    assert np.mean([one.effect for one in effects]) < 0.03, "the expected chance distance is taken off"
    assert np.mean([one.probability <= 0.05 for one in effects]) <= 0.05, "the bound on the probability holds"


@pytest.mark.parametrize("rows_before", [400, 20_000])
def test_the_interval_holds_the_true_distance(rows_before: int) -> None:
    rng = np.random.default_rng(2)
    old, new = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.2, 0.4])
    missed = 0
    for _ in range(300):
        one = measure_distance(rng.multinomial(rows_before, old).astype(float), rng.multinomial(250, new), alpha=0.05)
        missed += not one.low <= 0.3 <= one.high
    assert missed / 300 <= 0.1


def test_a_reference_known_to_hundredths_only_makes_the_effect_smaller() -> None:
    counts = np.array([500.0, 500.0]), np.array([60, 40])
    assert measure_distance(*counts, alpha=0.05, slack=0.02).effect < measure_distance(*counts, alpha=0.05).effect


def test_with_the_rows_that_are_asked_for_twice_the_limit_is_found_nine_times_of_ten() -> None:
    rng = np.random.default_rng(3)
    limit, alpha = 0.2, 1e-4
    old = np.full(10, 0.1)
    new = np.array([0.18] * 5 + [0.02] * 5)  # a distance of 0.4
    rows = int(rows_needed(TENTHS, limit, alpha))
    found = 0
    for _ in range(300):
        one = measure_distance(rng.multinomial(3_000, old).astype(float), rng.multinomial(rows, new), alpha)
        found += one.effect > limit and one.probability <= alpha
    assert target_effect(limit) == 0.4
    assert found / 300 >= 0.9


def test_a_training_that_is_too_small_can_never_be_compared_and_says_what_it_takes() -> None:
    assert math.isinf(rows_needed(np.full(10, 5.0), 0.2, 1e-4))
    least = reference_rows_needed(TENTHS, 0.2, 1e-4)
    assert math.isfinite(rows_needed(np.full(10, (least + 1) / 10), 0.2, 1e-4))


def test_looking_at_many_fields_makes_each_need_more() -> None:
    assert holm({"a": 0.01, "b": 0.02, "c": 0.5}) == {"a": 0.03, "b": 0.04, "c": 0.5}
    assert holm({"a": 0.4, "b": 0.5, "c": 0.9}) == {"a": 1.0, "b": 1.0, "c": 1.0}


@pytest.mark.parametrize(
    "counts", [(10, 200, 0, 1_000), (3, 200, 30, 1_000), (90_000, 1_000_000, 1_000, 20_000), (0, 5, 1, 7), (5, 5, 0, 7)]
)
def test_exact_tails_are_those_of_the_statistics_library(counts: tuple[int, int, int, int]) -> None:
    count, rows, count_before, rows_before = counts
    expected = scipy.stats.hypergeom.sf(count - 1, rows + rows_before, count + count_before, rows)
    assert drawn_at_least(*counts) == pytest.approx(expected, rel=1e-5)
    assert binomial_at_least(count, rows, 0.03) == pytest.approx(scipy.stats.binom.sf(count - 1, rows, 0.03))
    assert poisson_at_least(count, rows / 10) == pytest.approx(scipy.stats.poisson.sf(count - 1, rows / 10))
    assert poisson_at_most(count, rows / 10) == pytest.approx(scipy.stats.poisson.cdf(count, rows / 10))
