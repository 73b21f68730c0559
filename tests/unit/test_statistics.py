"""Feature statistics: what is kept of public fields, and that nothing of a single row is kept of the others."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.importance import measure_importance
from brandhouse_flows.statistics import feature_statistics, prediction_statistics
from brandhouse_shared.config import InputField
from brandhouse_shared.contracts import Contract

SECRET = 4321.25


def describe(rows: Any, /, **field: Any) -> dict[str, Any]:
    contract = Contract({"size": InputField.model_validate(field)})
    document = feature_statistics(pd.DataFrame({"size": rows}), contract)
    assert json.loads(json.dumps(document, allow_nan=False)) == document, "plain JSON, without NaN"
    told: dict[str, Any] = document["fields"]["size"]
    return told


def test_public_number_has_moments_and_deciles_of_known_values() -> None:
    told = describe([0.0, 10.0, np.nan, 20.0, 30.0, 40.0], type="number", nullable=True)
    assert (told["rows"], told["missing_share"], told["mean"], told["min"], told["max"]) == (6, 0.166667, 20, 0, 40)
    assert told["deciles"] == pytest.approx([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40])


def test_bins_hold_exact_counts_also_where_many_rows_share_a_value() -> None:
    told = describe([0.0] * 70 + [float(value) for value in range(1, 31)], type="number")
    bins = told["bins"]
    assert bins["edges"][0] == 0.0 and bins["counts"][0] == 70
    assert sum(bins["counts"]) == 100 and len(bins["counts"]) == len(bins["edges"]) + 1


def test_few_distinct_numbers_also_have_shares() -> None:
    assert describe([0.0, 0.0, 0.0, 2.0], type="integer")["shares"] == {"0": 0.75, "2": 0.25}


def test_boolean_has_the_share_of_true() -> None:
    assert describe([1.0, 0.0, 0.0, 0.0], type="boolean")["true_share"] == 0.25


def test_category_has_its_most_frequent_values_and_counts_the_rest() -> None:
    told = describe([f"c{number}" for number in range(30) for _ in range(number + 1)] + [""], type="category", nullable=True)
    assert told["distinct"] == 30
    assert len(told["top"]) == 20
    assert told["top"]["c29"] == 30
    assert told["other_rows"] == sum(range(1, 11))
    assert told["missing_share"] == pytest.approx(1 / 466, abs=1e-5)


def test_text_has_lengths_and_no_words() -> None:
    told = describe(["two words", "three words here"], type="text")
    assert told["length"]["max"] == 16
    assert told["words_mean"] == 2.5
    assert "words here" not in json.dumps(told)


def test_date_has_its_range() -> None:
    told = describe(pd.to_datetime(["2024-01-01", None, "2024-03-01"]), type="date", nullable=True)
    assert (told["min"][:10], told["max"][:10], told["missing_share"]) == ("2024-01-01", "2024-03-01", 0.333333)


def test_column_without_any_value_is_described_as_such() -> None:
    assert describe([np.nan, np.nan], type="number", nullable=True)["missing_share"] == 1


@pytest.mark.parametrize("privacy", ["personal", "sensitive"])
def test_private_number_keeps_coarse_shares_and_no_row_of_it(privacy: str) -> None:
    values = np.r_[np.random.default_rng(0).normal(3000, 200, 400), SECRET]
    told = describe(values, type="number", privacy=privacy)
    assert set(told) == {"type", "privacy", "rows", "missing_share", "coarse", "edges", "shares"}
    assert all(edge == float(f"{edge:.1e}") for edge in told["edges"])
    assert sum(told["shares"]) == pytest.approx(1, abs=0.03)
    assert str(SECRET) not in json.dumps(told)


def test_private_number_with_few_rows_keeps_nothing() -> None:
    assert set(describe([1.0, 2.0, SECRET] * 10, type="number", privacy="personal")) == {
        "type",
        "privacy",
        "rows",
        "missing_share",
        "coarse",
    }


def test_private_category_tells_only_declared_values_with_enough_rows() -> None:
    told = describe(["healthy"] * 90 + ["ill"] * 5 + ["well"] * 15, type="category", privacy="sensitive", values=["healthy", "ill", "well"])
    assert told["shares"] == {"healthy": 0.82, "well": 0.14}
    assert told["other_share"] == 0.05


@pytest.mark.parametrize("kind", ["category", "text"])
def test_private_free_text_keeps_no_value(kind: str) -> None:
    told = describe(["Jansen"] * 60 + ["De Vries"] * 40, type=kind, privacy="personal")
    assert "Jansen" not in json.dumps(told)
    assert "Vries" not in json.dumps(told)


def test_private_date_keeps_frequent_years_only() -> None:
    told = describe(pd.to_datetime(["1990-05-17"] * 30 + ["1931-02-03"] * 2), type="date", privacy="personal")
    assert told["shares"] == {"1990": 0.94}
    assert "1931" not in json.dumps(told)


def test_predictions_of_numbers_and_classes_are_described() -> None:
    assert prediction_statistics(np.array([1.0, 3.0]))["mean"] == 2
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    told = prediction_statistics(probabilities, ("no", 1))
    assert told["classes"]["1"] == {"mean_probability": pytest.approx(0.5), "predicted_share": 0.666667}
    assert told["probability"]["max"] == 0.8


def test_the_greatest_probability_of_many_classes_is_described() -> None:
    told = prediction_statistics(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]), ["a", "b", "c"])
    assert (told["confidence"]["min"], told["confidence"]["max"], "probability" in told) == (0.5, 0.8, False)


def test_predictions_are_part_of_the_document_if_given() -> None:
    contract = Contract({"size": InputField(type="number")})
    document = feature_statistics(pd.DataFrame({"size": [1.0, 2.0]}), contract, np.array([1.0, 3.0]))
    assert document["prediction"]["rows"] == 2


def test_importance_ranks_what_the_model_uses_and_leaves_the_frame_alone() -> None:
    generator = np.random.default_rng(0)
    features = pd.DataFrame(
        {"unused": generator.normal(0, 1, 500), "strong": generator.normal(0, 3, 500), "weak": generator.normal(0, 1, 500)}
    )
    before = features.copy()

    def predict(frame: pd.DataFrame) -> Any:
        return (frame["strong"] + frame["weak"]).to_numpy()

    ranked = measure_importance(predict, features, predict(features), "rmse")
    assert [item.feature for item in ranked] == ["strong", "weak", "unused"]
    assert ranked[2].loss == 0
    pd.testing.assert_frame_equal(features, before)


def test_importance_follows_the_direction_of_the_metric() -> None:
    features = pd.DataFrame({"score": np.linspace(0, 1, 200)})
    (item,) = measure_importance(
        lambda frame: np.column_stack([1 - frame["score"], frame["score"]]),
        features,
        (features["score"] > 0.5).astype(int).to_numpy(),
        "roc_auc",
    )
    assert item.loss == pytest.approx(0.5, abs=0.15)


def test_importance_stops_when_its_time_is_over() -> None:
    assert (
        measure_importance(lambda frame: frame["a"].to_numpy(), pd.DataFrame({"a": [1.0, 2.0]}), np.array([1.0, 2.0]), "mae", seconds=-1)
        == []
    )
