"""Scores by slice: who is judged, and how columns are cut."""

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.slices import MISSING, OTHERS, slice_scores
from brandhouse_shared.errors import DatasetError


def test_slice_has_the_score_of_its_rows_and_an_interval() -> None:
    truth = np.zeros(200)
    prediction = np.r_[np.tile([1.0, 3.0], 50), np.full(100, 5.0)]
    petrol, diesel = slice_scores("mae", truth, prediction, pd.DataFrame({"fuel": ["petrol"] * 100 + ["diesel"] * 100}), ["fuel"], 30)
    assert (petrol.column, petrol.value, petrol.rows, petrol.score, petrol.judged) == ("fuel", "petrol", 100, 2.0, True)
    assert petrol.low is not None
    assert petrol.high is not None
    assert 1.5 < petrol.low < 2 < petrol.high < 2.5
    assert diesel.score == 5.0


def test_slice_with_too_few_rows_is_shown_and_not_judged() -> None:
    scores = slice_scores("mae", np.zeros(40), np.ones(40), pd.DataFrame({"fuel": ["petrol"] * 35 + ["gas"] * 5}), ["fuel"], 30)
    gas = scores[1]
    assert (gas.value, gas.rows, gas.score, gas.judged) == ("gas", 5, None, False)
    assert gas.reason == "too few rows (30 are needed)"


def test_slice_on_which_the_metric_is_undefined_is_not_judged() -> None:
    truth = np.r_[np.ones(40, dtype=int), np.tile([0, 1], 20)]
    prediction = np.tile([[0.4, 0.6]], (80, 1))
    scores = slice_scores("roc_auc", truth, prediction, pd.DataFrame({"shop": ["a"] * 40 + ["b"] * 40}), ["shop"], 30)
    assert {item.value: item.judged for item in scores} == {"a": False, "b": True}
    assert next(item.reason for item in scores if item.value == "a") == "all rows are of one class"


def test_numbers_with_many_values_are_cut_into_quarters_without_naming_single_rows() -> None:
    ages = np.arange(1000, 1400)
    scores = slice_scores("mae", np.zeros(400), np.ones(400), pd.DataFrame({"age": ages.astype(str)}), ["age"], 30)
    assert [item.rows for item in scores] == [100, 100, 100, 100]
    assert scores[0].value == "up to 1,099"
    assert scores[-1].value == "above 1,299"
    assert not any("1,399" in item.value or "1,000" in item.value for item in scores), "minimum and maximum are single rows' values"


def test_few_numbers_are_values_in_their_order() -> None:
    doors = pd.DataFrame({"doors": ["10", "2", "3"] * 40})
    assert [item.value for item in slice_scores("mae", np.zeros(120), np.ones(120), doors, ["doors"], 30)] == ["2", "3", "10"]


def test_many_texts_are_the_frequent_ones_and_the_others() -> None:
    towns = [f"town {number}" for number in range(30) for _ in range(number + 1)]
    scores = slice_scores("mae", np.zeros(len(towns)), np.ones(len(towns)), pd.DataFrame({"town": towns}), ["town"], 10)
    assert len(scores) == 12
    assert scores[0].value == "town 29"
    assert scores[-1].value == OTHERS
    assert sum(item.rows for item in scores) == len(towns)


def test_missing_values_are_a_slice_of_their_own() -> None:
    fuel = pd.DataFrame({"fuel": ["petrol"] * 40 + [None] * 30 + [""] * 10})
    scores = slice_scores("mae", np.zeros(80), np.ones(80), fuel, ["fuel"], 30)
    assert [(item.value, item.rows) for item in scores] == [("petrol", 40), (MISSING, 40)]


def test_each_row_is_in_one_slice_of_a_column() -> None:
    generator = np.random.default_rng(0)
    amounts = pd.DataFrame({"amount": np.where(generator.random(500) < 0.6, 0, generator.integers(1, 90, 500)).astype(str)})
    scores = slice_scores("mae", np.zeros(500), np.ones(500), amounts, ["amount"], 1)
    assert sum(item.rows for item in scores) == 500


def test_unknown_column_is_named_with_those_there_are() -> None:
    with pytest.raises(DatasetError, match="slices name columns that the data lack: fule; columns: fuel"):
        slice_scores("mae", np.zeros(2), np.ones(2), pd.DataFrame({"fuel": ["a", "b"]}), ["fule"], 1)


def test_rows_of_another_table_are_refused() -> None:
    with pytest.raises(ValueError, match="the columns of all 3 rows, not of 2"):
        slice_scores("mae", np.zeros(3), np.ones(3), pd.DataFrame({"fuel": ["a", "b"]}), ["fuel"], 1)
