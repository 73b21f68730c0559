"""Single features that give the answer away are found, honest ones are not."""

import time

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.leakage import find_leaks, rank_features
from brandhouse_shared.metrics import Task


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_copy_of_a_numeric_target_is_found(generator: np.random.Generator) -> None:
    price = np.exp(generator.normal(9, 1, 1000))
    features = pd.DataFrame(
        {"price_with_tax": price * 1.21, "noise": generator.normal(0, 1, 1000), "age": -price + generator.normal(0, 9e3, 1000)}
    )
    assert [leak.feature for leak in find_leaks(features, price, Task.REGRESSION, 0.98)] == ["price_with_tax"]


def test_falling_relation_is_found_as_well_as_a_rising_one(generator: np.random.Generator) -> None:
    price = generator.random(1000)
    assert find_leaks(pd.DataFrame({"inverse": 1 / (price + 1)}), price, Task.REGRESSION, 0.98)


def test_code_of_a_rare_class_in_the_middle_of_a_number_is_found(generator: np.random.Generator) -> None:
    reply = (generator.random(5000) < 0.02).astype(int)
    code = np.where(reply == 1, 50, generator.integers(0, 50, 5000) * 2 + 1)
    assert [leak.feature for leak in find_leaks(pd.DataFrame({"code": code}), reply, Task.BINARY, 0.98)] == ["code"]


def test_category_that_names_the_class_is_found_in_binary_and_multiclass(generator: np.random.Generator) -> None:
    topic = generator.integers(0, 4, 800)
    folder = pd.DataFrame(
        {"folder": np.array(["cars", "bikes", "boats", "planes"])[topic], "author": generator.integers(0, 30, 800).astype(str)}
    )
    assert [leak.feature for leak in find_leaks(folder, topic, Task.MULTICLASS, 0.98)] == ["folder"]
    assert [leak.feature for leak in find_leaks(folder, (topic == 2).astype(int), Task.BINARY, 0.98)] == ["folder"]


def test_value_that_is_missing_only_for_one_class_is_found(generator: np.random.Generator) -> None:
    cancelled = (generator.random(2000) < 0.05).astype(int)
    paid = np.where(cancelled == 1, np.nan, generator.random(2000))
    assert find_leaks(pd.DataFrame({"paid": paid}), cancelled, Task.BINARY, 0.999)


def test_date_that_gives_the_answer_away_is_found(generator: np.random.Generator) -> None:
    sold = generator.integers(0, 2, 600)
    closed = pd.Timestamp("2024-01-01") + pd.to_timedelta(sold * 300 + generator.integers(0, 200, 600), unit="D")
    assert find_leaks(pd.DataFrame({"closed": closed}), sold, Task.BINARY, 0.98)


@pytest.mark.parametrize("task", list(Task))
def test_noise_and_row_numbers_are_no_leak(task: Task, generator: np.random.Generator) -> None:
    truth = generator.normal(0, 1, 800) if task is Task.REGRESSION else generator.integers(0, 2 if task is Task.BINARY else 3, 800)
    features = pd.DataFrame(
        {"noise": generator.normal(0, 1, 800), "id": [f"row {number}" for number in range(800)], "constant": 1.0, "empty": np.nan}
    )
    for leak in rank_features(features, truth, task):
        assert leak.score < 0.6, leak


def test_score_is_judged_on_rows_it_was_not_learned_from(generator: np.random.Generator) -> None:
    codes = pd.DataFrame({"postcode": generator.integers(0, 400, 800).astype(str)})
    (leak,) = rank_features(codes, generator.integers(0, 2, 800), Task.BINARY)
    assert leak.score < 0.6, "with two rows a code, learning and asking on the same rows would look like a leak"


def test_features_are_ranked_best_first_and_the_frame_is_unchanged(generator: np.random.Generator) -> None:
    truth = generator.normal(0, 1, 500)
    features = pd.DataFrame({"weak": truth + generator.normal(0, 2, 500), "strong": truth + generator.normal(0, 0.3, 500)})
    before = features.copy()
    assert [leak.feature for leak in rank_features(features, truth, Task.REGRESSION)] == ["strong", "weak"]
    pd.testing.assert_frame_equal(features, before)


def test_forty_features_of_five_thousand_rows_are_checked_fast(generator: np.random.Generator) -> None:
    features = pd.DataFrame({f"f{number}": generator.normal(0, 1, 5000).astype(np.float32) for number in range(30)})
    features = features.assign(**{f"c{number}": generator.integers(0, 50, 5000).astype(str) for number in range(10)})
    reply = generator.integers(0, 2, 5000)
    find_leaks(features, reply, Task.BINARY, 0.98)
    started = time.process_time()
    find_leaks(features, reply, Task.BINARY, 0.98)
    assert time.process_time() - started < 0.6, "it takes some 150 ms"


def test_copy_of_a_target_is_found_on_a_few_hundred_rows(generator: np.random.Generator) -> None:
    price = generator.normal(0, 1, 150)
    features = pd.DataFrame({"deposit": -price, "noise": generator.normal(0, 1, 150)})
    assert [leak.feature for leak in find_leaks(features, price, Task.REGRESSION, 0.98)] == ["deposit"]
    sold = (price > 1).astype(int)
    assert [leak.feature for leak in find_leaks(features, sold, Task.BINARY, 0.98)] == ["deposit"]
