"""The tests of canaries: how often a harmless one is stopped while someone looks at every moment, and how soon a harmful one is.

Simulated streams; the same functions judge them that judge real ones, at every prefix.
"""

import math
from typing import Any

import numpy as np
import pytest

from brandhouse_serving.sequential import (
    ALPHA,
    ENOUGH,
    EXCESSES,
    RISK_RATIOS,
    TESTS,
    mean_gains,
    mix,
    requests_to_catch_disagreement,
    requests_to_catch_errors,
    risk_evidence,
)

RUNS = 2_000
PER_TEST = ALPHA / TESTS
NOISE = 3 * math.sqrt(PER_TEST / RUNS)
"""Three standard errors of the rate over `RUNS` simulated trials."""


def highest_risk_evidence(is_canary: Any, share: float) -> Any:
    """The highest evidence ever shown, per stream; `is_canary` has the shape (streams, events)."""
    canary, events = is_canary.cumsum(axis=1), np.arange(1, is_canary.shape[1] + 1)
    gains = np.stack([canary * math.log(ratio) - events * math.log1p((ratio - 1) * share) for ratio in RISK_RATIOS])
    return np.logaddexp.reduce(gains, axis=0).max(axis=1) - math.log(len(RISK_RATIOS))


def highest_mean_evidence(values: Any, limit: float) -> Any:
    """The same for means; `values` has the shape (streams, requests)."""
    gains = np.stack([np.log1p(excess / limit * (values - limit)).cumsum(axis=1) for excess in EXCESSES])
    return np.logaddexp.reduce(gains, axis=0).max(axis=1) - math.log(len(EXCESSES))


def test_simulated_evidence_is_that_of_the_functions() -> None:
    events = np.array([[1, 0, 1, 1, 0, 0, 1]])
    prefixes = [risk_evidence(int(events[0, :n].sum()), n - int(events[0, :n].sum()), 0.2) for n in range(1, 8)]
    assert highest_risk_evidence(events, 0.2)[0] == pytest.approx(max(prefixes))
    values = np.array([[0.5, 1.0, 0.0, 0.9]])
    gains = np.array([mean_gains(value, 0.3) for value in values[0]]).cumsum(axis=0)
    assert highest_mean_evidence(values, 0.3)[0] == pytest.approx(max(mix(list(row)) for row in gains))


def test_without_events_there_is_no_evidence() -> None:
    assert risk_evidence(0, 0, 0.1) == pytest.approx(0.0)
    assert risk_evidence(0, 50, 0.1) < 0 < risk_evidence(2, 0, 0.1)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_canary_as_good_as_production_is_stopped_in_a_third_of_one_percent_of_trials_at_most(share: float) -> None:
    is_canary = np.random.default_rng(7).random((RUNS, 1_000)) < share
    assert (highest_risk_evidence(is_canary, share) >= ENOUGH).mean() <= PER_TEST + NOISE


def test_failures_that_come_and_go_for_both_stop_no_canary() -> None:
    """Bursts say nothing: each failing request is the canary's with the probability of its share, whenever it comes."""
    generator = np.random.default_rng(8)
    rates = np.repeat(generator.choice([0.0, 0.001, 0.2], size=(RUNS, 20)), 50, axis=1)
    fails = generator.random(rates.shape) < rates
    is_canary = generator.random(rates.shape) < 0.1
    highest = np.zeros(RUNS)
    for run in range(RUNS):
        own = is_canary[run][fails[run]]
        if own.size:
            highest[run] = highest_risk_evidence(own[None, :], 0.1)[0]
    assert (highest >= ENOUGH).mean() <= PER_TEST + NOISE


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.6])
def test_a_disagreement_at_the_limit_stops_no_canary(limit: float) -> None:
    generator = np.random.default_rng(9)
    rows = generator.integers(1, 6, size=(RUNS, 800))
    shares = generator.binomial(rows, limit) / rows  # requests of one to five rows
    assert (highest_mean_evidence(shares, limit) >= ENOUGH).mean() <= PER_TEST + NOISE
    drifting = generator.random((RUNS, 800)) < np.linspace(0, 2 * limit, 800).clip(max=limit)
    assert (highest_mean_evidence(drifting, limit) >= ENOUGH).mean() <= PER_TEST + NOISE


def requests_until_stopped(canary_rate: float, production_rate: float, share: float, runs: int = 200) -> Any:
    """How many requests a canary had answered when it was stopped, per run; infinity if 20,000 requests did not stop it."""
    generator = np.random.default_rng(10)
    found = []
    for _ in range(runs):
        is_canary = generator.random(20_000) < share
        fails = generator.random(20_000) < np.where(is_canary, canary_rate, production_rate)
        where = np.flatnonzero(fails)
        canary, events = is_canary[where].cumsum(), np.arange(1, where.size + 1)
        evidence = [risk_evidence(int(c), int(n - c), share) for c, n in zip(canary, events, strict=True)]
        stop = next((place for place, one in zip(where, evidence, strict=True) if one >= ENOUGH), None)
        found.append(np.inf if stop is None else is_canary[: stop + 1].sum())
    return np.array(found)


@pytest.mark.parametrize(("share", "most"), [(0.1, 180), (0.5, 380)])
def test_a_canary_that_fails_in_five_percent_is_stopped_soon(share: float, most: int) -> None:
    needed = requests_until_stopped(0.05, 0.0, share)
    assert np.median(needed) <= requests_to_catch_errors(share) * 1.1
    assert np.quantile(needed, 0.95) <= most


def test_a_canary_that_fails_five_times_as_often_as_production_is_stopped() -> None:
    assert np.quantile(requests_until_stopped(0.05, 0.01, 0.1, runs=150), 0.95) <= 700


def test_a_disagreement_far_above_the_limit_is_found_soon() -> None:
    generator = np.random.default_rng(11)
    values = generator.random((RUNS, 3 * requests_to_catch_disagreement(0.3))) < 0.65
    assert (highest_mean_evidence(values, 0.3) >= ENOUGH).mean() > 0.95


def test_planned_requests_grow_with_the_share_of_the_canary() -> None:
    assert [requests_to_catch_errors(share) for share in (0.01, 0.1, 0.5)] == [40, 80, 220]
