"""Signs beside numbers, numbers that mean nothing, and what is or is not about a person: what is proposed for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_authoring.proposal import Proposal, propose
from brandhouse_flows.datasets import read_table
from brandhouse_flows.importance import measure_importance
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.metrics import Task

ROWS = 300


def random(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(*values: Any, seed: int = 3) -> list[Any]:
    return [values[place] for place in random(seed).integers(0, len(values), ROWS)]


def written(tmp_path: Path, *, target: Any = None, **columns: Any) -> Path:
    size = random(1).normal(50, 10, ROWS).round(1)
    rows = pd.DataFrame(
        {
            "size": size,
            **columns,
            "price": (900 * size + random(2).normal(0, 7000, ROWS)).round(0).astype(int) if target is None else target,
        }
    )
    path = tmp_path / "offers.csv"
    rows.to_csv(path, index=False, sep=";")
    return path


def learnt(path: Path, **asked: Any) -> tuple[Proposal, pd.DataFrame]:
    """The proposal, and the rows as a training would see them."""
    proposal = propose(path, "price", name="casa", **asked)
    config = BrandConfig.model_validate(proposal.as_document("casa@house.example"))
    rows = read_table(config.datasets[proposal.dataset], path)
    return proposal, Contract(config.models[proposal.model].inputs).parse_table(rows.dropna(subset=["price"]), "casa")


def flagged(proposal: Proposal) -> dict[str, str]:
    return {decision.subject: f"{decision.decision}: {decision.why}" for decision in proposal.decisions if decision.attention}


# -- signs beside numbers ------------------------------------------------------------------------------------------------


def test_amounts_with_a_currency_and_points_between_thousands_are_numbers(tmp_path: Path) -> None:
    proposal, rows = learnt(written(tmp_path, rent=drawn("€ 950", "€ 1.200", "€ 12.000,-", "€ 1.050.000")))
    assert proposal.inputs["rent"]["type"] == "integer"
    assert proposal.data["units"] == [",-", "€"]
    assert set(rows["rent"]) == {950, 1200, 12000, 1050000}


def test_amounts_in_american_style_are_numbers(tmp_path: Path) -> None:
    _, rows = learnt(written(tmp_path, rent=drawn("$1,200.50", "$950.00", "$12,000.00", "$1,000.25")))
    assert set(rows["rent"]) == {1200.5, 950, 12000, 1000.25}


def test_percentages_are_numbers_and_a_text_with_digits_stays_one(tmp_path: Path) -> None:
    proposal, rows = learnt(
        written(tmp_path, discount=drawn("12 %", "7,5 %", "0%", "33 %"), offer=drawn("5% off", "$ 3 off", "none today"))
    )
    assert set(rows["discount"]) == {12, 7.5, 0, 33}
    assert proposal.inputs["offer"]["values"] == ["$ 3 off", "5% off", "none today"]


def test_amounts_with_points_beside_an_odd_word_and_decimal_commas_are_read_as_proposed(tmp_path: Path) -> None:
    _, rows = learnt(written(tmp_path, rent=drawn("$ 950", "$ 1.200", "onbekend", "$ 7.560"), part=drawn("1,5", "2,25", "7,125", "3,0")))
    assert set(rows["rent"].dropna()) == {950, 1200, 7560}
    assert set(rows["part"]) == {1.5, 2.25, 7.125, 3}


def test_a_unit_beside_decimal_points_is_dropped_although_other_columns_have_decimal_commas(tmp_path: Path) -> None:
    _, rows = learnt(written(tmp_path, share=drawn("1.5 %", "2.25 %", "0 %", "3.75 %"), part=drawn("1,5", "2,25", "7,5", "3,0")))
    assert set(rows["share"]) == {1.5, 2.25, 0, 3.75}


def test_a_target_with_a_currency_is_a_number_to_learn(tmp_path: Path) -> None:
    prices = [f"€ {price:,}".replace(",", ".") for price in random().integers(900, 90_000, ROWS)]
    proposal = propose(written(tmp_path, target=prices), "price", name="casa")
    assert proposal.task is Task.REGRESSION


def test_parquet_with_signs_is_read_by_a_training_as_it_was_proposed(tmp_path: Path) -> None:
    rows = pd.read_csv(written(tmp_path, rent=drawn(" € 950", "€ 1.200 ", "€ 12.000")), sep=";")
    path = tmp_path / "offers.parquet"
    rows.to_parquet(path)
    _, read = learnt(path)
    assert set(read["rent"]) == {950, 1200, 12000}


# -- numbers that mean nothing -------------------------------------------------------------------------------------------


def test_minus_999_among_numbers_from_zero_is_no_value(tmp_path: Path) -> None:
    rooms = drawn(1, 2, 3, 4, 5, -999)
    proposal, rows = learnt(written(tmp_path, rooms=rooms))
    assert proposal.inputs["rooms"]["nullable"]
    assert rows["rooms"].isna().sum() == rooms.count(-999)
    assert "-999 read as: no value" in flagged(proposal)["rooms"]


def test_9999_far_above_all_others_is_no_value_in_a_file_with_decimal_commas(tmp_path: Path) -> None:
    years = drawn("1,5", "2,25", "12,0", "9999,0", "7,75", "3,5")
    proposal, rows = learnt(written(tmp_path, years=years))
    assert rows["years"].max() == 12
    assert "9999 read as: no value" in flagged(proposal)["years"]


@pytest.mark.parametrize("column", [drawn(-999, -500, 100, 300, 700, 2), drawn(999, 998, 500, 700, 12, 8)])
def test_nines_amid_other_numbers_stay_numbers(tmp_path: Path, column: list[int]) -> None:
    proposal, rows = learnt(written(tmp_path, weight=column))
    assert not rows["weight"].isna().any()
    assert "weight" not in flagged(proposal)


def test_nines_that_are_a_quantity_in_another_column_are_kept_and_flagged(tmp_path: Path) -> None:
    proposal, rows = learnt(written(tmp_path, rooms=drawn(1, 2, 3, 4, 5, 9999), distance=drawn(9999, 9998, 8000, 100, 7)))
    assert rows["rooms"].max() == 9999
    assert "another column has it, too" in flagged(proposal)["rooms"]


# -- about a person, or not ----------------------------------------------------------------------------------------------


def test_ages_of_persons_are_personal_and_those_of_houses_are_not(tmp_path: Path) -> None:
    person, _ = learnt(written(tmp_path, age=random().integers(18, 90, ROWS)))
    house, _ = learnt(written(tmp_path, age=random().integers(0, 190, ROWS)))
    share, _ = learnt(written(tmp_path, age=random().uniform(0, 100, ROWS).round(1)))
    assert person.inputs["age"]["privacy"] == "personal"
    assert "privacy" not in house.inputs["age"]
    assert "privacy" not in share.inputs["age"]


def test_an_income_that_is_the_towns_is_not_personal(tmp_path: Path) -> None:
    towns = drawn("Delft", "Gouda", "Zwolle", "Breda", "Tiel", "Goes")
    by_town = {town: 20_000 + 137 * place for place, town in enumerate(sorted(set(towns)))}
    of_town, _ = learnt(written(tmp_path, city=towns, income=[by_town[town] for town in towns]))
    of_person, _ = learnt(written(tmp_path, city=towns, income=random().integers(15_000, 90_000, ROWS)))
    assert "privacy" not in of_town.inputs["income"]
    assert of_person.inputs["income"]["privacy"] == "personal"


def test_an_average_age_is_not_personal(tmp_path: Path) -> None:
    proposal, _ = learnt(written(tmp_path, median_age=random().integers(30, 50, ROWS)))
    assert "privacy" not in proposal.inputs["median_age"]


# -- what a column is for ------------------------------------------------------------------------------------------------


def test_a_count_that_was_none_or_one_so_far_is_no_yes_or_no(tmp_path: Path) -> None:
    proposal, _ = learnt(written(tmp_path, **{"number of lifts": drawn(0, 1), "lift": drawn(0, 1, seed=4)}))
    assert proposal.inputs["number of lifts"]["type"] == "integer"
    assert proposal.inputs["lift"]["type"] == "boolean"


def test_a_hash_before_a_name_counts_and_one_behind_it_numbers(tmp_path: Path) -> None:
    proposal, _ = learnt(written(tmp_path, **{"# visitors": random().integers(0, 5000, ROWS), "room#": random(5).permutation(ROWS)}))
    assert proposal.inputs["# visitors"]["type"] == "integer"
    assert [item.column for item in proposal.left_out] == ["room#"]


def test_names_of_things_are_no_text_to_learn_from(tmp_path: Path) -> None:
    names = [f"the {first} {second} house" for first in range(20) for second in range(15)]
    proposal, _ = learnt(written(tmp_path, **{"house name": names}))
    assert [item.column for item in proposal.left_out] == ["house name"]


def test_a_county_with_rows_of_many_years_stays_on_one_side(tmp_path: Path) -> None:
    proposal, _ = learnt(written(tmp_path, countyid=random().integers(1000, 1060, ROWS)))
    assert proposal.split == {"kind": "grouped", "by": "countyid"}


# -- refusals ------------------------------------------------------------------------------------------------------------


def test_a_mistyped_target_is_answered_with_the_closest_names(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="did you mean 'price'"):
        propose(written(tmp_path), "Prize", name="casa")


def test_a_folder_and_json_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="this is a folder; give the path of one CSV or Parquet file in it"):
        propose(tmp_path, "price", name="casa")
    path = tmp_path / "rows.json"
    path.write_text('[{"size": 1, "price": 2}]')
    with pytest.raises(DatasetError, match=r"pandas\.read_json"):
        propose(path, "price", name="casa")


def test_a_column_named_self_is_read_and_its_weight_is_measured(tmp_path: Path) -> None:
    _, rows = learnt(written(tmp_path, self=drawn(" 1,5", "2,5 ", "4,5")))
    assert set(rows["self"]) == {1.5, 2.5, 4.5}
    found = measure_importance(lambda frame: frame["self"].to_numpy(dtype=float), rows, rows["self"].to_numpy(dtype=float), "mae")
    assert found[0].feature == "self"
    assert found[0].loss > 0
