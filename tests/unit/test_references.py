"""What a version's record says of its training, made comparable."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_aftercare.answers import Categories, Numbers
from brandhouse_aftercare.references import Reference, field_reference, number_reference, shares_reference
from brandhouse_flows.statistics import feature_statistics, prediction_statistics
from brandhouse_shared.config import InputField
from brandhouse_shared.contracts import Contract

ROWS = 1_000


def build(values: list[Any], hash_of: Any = None, **field: Any) -> Reference | str:
    declared = InputField.model_validate(field)
    contract = Contract({"x": declared})
    rows = contract.parse_table(pd.DataFrame({"x": pd.Series(values, dtype=object)}), "training")
    return field_reference(declared, feature_statistics(rows, contract)["fields"]["x"], hash_of)


def shares(reference: Reference | str, column: Any) -> list[float]:
    assert isinstance(reference, Reference)
    counts = reference.count(column, np.ones(len(column.missing), bool))
    return [round(float(share), 2) for share in counts / counts.sum()]


def test_the_training_itself_lies_in_its_cells_as_the_record_says() -> None:
    values = np.random.default_rng(1).normal(size=ROWS).round(3)
    reference = build(values.tolist(), type="number")
    assert isinstance(reference, Reference)
    assert len(reference.cells) == 10
    assert reference.count(Numbers(values), np.ones(ROWS, bool)).tolist() == reference.counts.tolist()


def test_a_value_that_most_rows_have_does_not_blur_the_cells() -> None:
    values = [0.0] * 700 + list(np.linspace(1, 30, 300))
    reference = build(values, type="number")
    assert isinstance(reference, Reference)
    assert reference.counts[0] == 700
    assert shares(reference, Numbers(np.zeros(50)))[0] == 1.0


def test_few_numbers_are_compared_one_by_one_and_others_together() -> None:
    reference = build([1, 2, 2, 5] * 100, type="integer")
    assert isinstance(reference, Reference)
    assert reference.cells == ("1", "2", "5", "other")
    assert shares(reference, Numbers(np.array([1.0, 2.0, 7.0, np.nan]))) == [0.33, 0.33, 0.0, 0.33]


def test_categories_that_training_did_not_have_are_others() -> None:
    reference = build(["a"] * 60 + ["b"] * 40, type="category")
    column = Categories(np.array([0, 1, 1, -1], np.int32), ("a", "z"))
    assert shares(reference, column) == [0.33, 0.0, 0.67]


def test_texts_are_compared_by_their_lengths() -> None:
    reference = build(["x" * (length % 40 + 1) for length in range(ROWS)], type="text")
    assert shares(reference, Numbers(np.full(5, 1_000.0)))[-1] == 1.0


@pytest.mark.parametrize(
    ("field", "values", "why"),
    [
        ({"type": "date"}, ["2026-01-01"] * 3, "a date: it moves on with time"),
        ({"type": "text", "privacy": "sensitive"}, ["ill"] * 30, "sensitive: nothing of it is logged"),
        (
            {"type": "text", "privacy": "personal"},
            ["Ann"] * 30,
            "personal: the record holds no shares that its hashes could be compared with",
        ),
        (
            {"type": "number", "privacy": "personal"},
            list(np.linspace(0, 1, 200)),
            "personal: too many possible values to be told by their hashes",
        ),
        ({"type": "number", "nullable": True}, [None, None], "the training had no value of it"),
    ],
)
def test_what_cannot_be_compared_says_why(field: dict[str, Any], values: list[Any], why: str) -> None:
    assert build(values, str, **field) == why


def test_a_personal_whole_number_is_counted_in_coarse_ranges_by_its_hashes() -> None:
    ages = list(range(20, 80)) * 10
    reference = build(ages, lambda value: f"hash of {float(value)}", type="integer", min=18, max=100, privacy="personal")
    column = Categories(np.array([0, 1, 2], np.int32), ("hash of 25.0", "hash of 70.0", "hash of 500.0"))
    assert shares(reference, column) == [0.33, 0.0, 0.0, 0.33, 0.33]
    assert isinstance(reference, Reference)
    assert reference.slack > 0, "shares are rounded to hundredths"


def test_a_personal_yes_or_no_is_counted_whichever_way_it_is_written() -> None:
    reference = build([True] * 80 + [False] * 20, str, type="boolean", privacy="personal")
    assert isinstance(reference, Reference)
    assert shares(reference, Categories(np.array([0, 0, 1, -1], np.int32), ("True", "False"))) == [0.33, 0.67, 0.0]


def test_a_record_of_an_earlier_release_is_used_where_deciles_are_exact() -> None:
    told = prediction_statistics(np.linspace(0, 1, 400))
    del told["bins"]
    reference = number_reference(told, 400)
    assert isinstance(reference, Reference)
    assert shares(reference, Numbers(np.linspace(0, 1, 100))) == [0.1] * 10
    coarse = prediction_statistics(np.repeat([0.1, 0.9], 200))
    del coarse["bins"]
    assert number_reference(coarse, 400) == "its record is of an earlier release and too coarse for it; the next version can be compared"


def test_answers_in_single_precision_stay_on_their_side_of_an_edge() -> None:
    leaves = np.array([0.1, 0.2, 0.3, 0.7]).repeat(100)
    told = prediction_statistics(leaves)
    reference = number_reference(told, 400, tolerance=1e-6)
    assert isinstance(reference, Reference)
    compiled = leaves.astype(np.float32).astype(np.float64)
    assert reference.count(Numbers(compiled), np.ones(400, bool)).tolist() == reference.counts.tolist()


def test_a_field_whose_declaration_changed_is_not_compared() -> None:
    told = {"type": "number", "privacy": "public", "rows": 10, "missing_share": 0.0}
    assert (
        field_reference(InputField.model_validate({"type": "category"}), told) == "its type or privacy class has changed since the training"
    )


def test_rows_are_counted_as_a_search_for_each_value_counts_them() -> None:
    edges = [-1.5, 0.0, 0.0, 2.25, 7.0]
    reference = number_reference({"bins": {"edges": edges, "counts": [1] * 6}}, 6)
    values = np.concatenate([np.random.default_rng(2).normal(0, 5, 997).round(2), [0.0, -1.5, 7.0, np.inf, -np.inf, np.nan, np.nan]])
    chosen = np.arange(len(values)) % 3 != 1

    assert isinstance(reference, Reference)
    for rows in (chosen, np.ones(len(values), bool)):
        known = values[rows & ~np.isnan(values)]
        assert reference.count(Numbers(values), rows).tolist() == np.bincount(np.searchsorted(edges, known, "left"), minlength=6).tolist()


def test_a_number_is_its_cell_if_it_is_as_good_as_equal() -> None:
    reference = shares_reference({"0": 0.5, "3": 0.3, "3000000": 0.2}, 10)
    values = np.array([0.0, 1e-13, 1e-11, 3.0, 3.00001, 3.0001, 2_999_999.0, 2_999_000.0, np.inf, np.nan])

    assert reference.place(Numbers(values)).tolist() == [0, 0, 3, 1, 1, 3, 2, 3, 3, -1]
