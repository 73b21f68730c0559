"""One object checks requests and tables alike, and both become the same canonical values."""

import math
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ContractViolationError

ODD_NAME = 'Prijs / "per m²" '
FIELDS = {
    "km": InputField(type=FieldType.NUMBER, min=0, max=1000),
    "doors": InputField(type=FieldType.INTEGER, min=2, max=5, nullable=True),
    "metallic": InputField(type=FieldType.BOOLEAN, nullable=True),
    ODD_NAME: InputField(type=FieldType.CATEGORY, values=("Petrol", "Diesel")),
    "zip": InputField(type=FieldType.CATEGORY, values=(1, 2, 10), nullable=True),
    "note": InputField(type=FieldType.TEXT, max_length=10, nullable=True),
    "sold": InputField(type=FieldType.DATE, format="%d/%m/%Y", nullable=True),
}
GOOD = {"km": 12.5, "doors": 4, "metallic": True, ODD_NAME: "Diesel", "zip": 10, "note": "nice", "sold": "24/12/2025"}


def contract() -> Contract:
    return Contract(FIELDS)


def refusal(row: Any) -> str:
    with pytest.raises(ContractViolationError) as caught:
        contract().parse_rows([row])
    return str(caught.value)


def test_a_good_row_becomes_canonical_values() -> None:
    columns = contract().parse_rows([GOOD])
    assert columns == {
        "km": [12.5], "doors": [4.0], "metallic": [1.0], ODD_NAME: ["Diesel"], "zip": ["10"], "note": ["nice"], "sold": [datetime(2025, 12, 24)],  # noqa: E501
    }  # fmt: skip


def test_a_nullable_field_may_be_null_or_left_out() -> None:
    columns = contract().parse_rows([{"km": 1, ODD_NAME: "Petrol", "doors": None}])
    assert math.isnan(columns["doors"][0])
    assert math.isnan(columns["metallic"][0])
    assert columns["note"] == [""]
    assert columns["sold"] == [None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"km": "12"}, "instances[0].km: a text given; allowed: a number at least 0 and at most 1000"),
        ({"km": True}, "instances[0].km: a boolean given"),
        ({"km": -1}, "instances[0].km: a number out of range given"),
        ({"km": math.nan}, "instances[0].km: a number that is not finite given"),
        ({"km": math.inf}, "instances[0].km: a number that is not finite given"),
        ({"km": 10**400}, "instances[0].km: a number that is too large given"),
        ({"km": None}, "instances[0].km: null given"),
        ({"doors": 3.5}, "instances[0].doors: a number that is not whole given"),
        ({"metallic": 1}, "instances[0].metallic: a whole number given; allowed: true or false, or null"),
        ({ODD_NAME: "Steam"}, f"instances[0].{ODD_NAME}: an unknown category given; allowed: one of Petrol, Diesel"),
        ({ODD_NAME: ["Petrol"]}, f"instances[0].{ODD_NAME}: a list given"),
        ({"zip": "10"}, "instances[0].zip: a text given; allowed: one of 1, 2, 10, or null"),
        ({"zip": True}, "instances[0].zip: a boolean given"),
        ({"note": "far too long a note"}, "instances[0].note: a text of 19 characters given"),
        ({"note": "\ud800"}, "instances[0].note: a text with a lone surrogate given"),
        ({"sold": "2025-12-24"}, "instances[0].sold: a text that is no such date given; allowed: a date as text in the format %d/%m/%Y"),
        ({"sold": "01/01/0900"}, "instances[0].sold: a date outside 1678 to 2261 given"),
        ({"colour": "red"}, "instances[0]: unknown field colour; allowed: km, doors"),
    ],
)
def test_a_refusal_names_field_kind_and_what_is_allowed(change: dict[str, Any], said: str) -> None:
    assert said in refusal(GOOD | change)


def test_a_missing_field_is_named() -> None:
    row = {name: value for name, value in GOOD.items() if name != "km"}
    assert "instances[0].km: nothing given" in refusal(row)


@pytest.mark.parametrize("row", [None, 1, "text", [], [1]])
def test_an_instance_that_is_no_object_is_refused(row: Any) -> None:
    assert "allowed: an object with the input fields" in refusal(row)


def test_a_message_never_holds_the_value() -> None:
    assert "Jansen" not in refusal(GOOD | {ODD_NAME: "Jansen", "note": "Jansen Jansen"})


def raw_table(**changes: list[str | None]) -> pd.DataFrame:
    cells: dict[str, list[str | None]] = {
        "km": ["1", "2.5"], "doors": ["4", None], "metallic": ["TRUE", "no"], ODD_NAME: ["Petrol", "Diesel"],
        "zip": ["1", None], "note": ["a", None], "sold": ["24/12/2025", None], "ignored": ["x", "y"],
    }  # fmt: skip
    return pd.DataFrame(cells | changes, dtype=object)


def test_a_table_and_a_request_give_the_same_canonical_frame() -> None:
    frame = contract().parse_table(raw_table(), "casa/price")
    again = contract().frame_of(contract().parse_rows(contract().instances_of(frame)))
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), again)


def test_the_data_contradicting_the_schema_are_counted_by_field() -> None:
    with pytest.raises(ContractViolationError) as caught:
        contract().parse_table(raw_table(km=["-5", "many"], doors=["2.5", "9"]), "casa/price")
    said = str(caught.value)
    assert "casa/price" in said
    assert "km: 1 of 2 rows hold something else" in said
    assert "km: 1 of 2 rows hold a smaller number" in said
    assert "doors: 1 of 2 rows hold a number that is not whole" in said
    assert "doors: 1 of 2 rows hold a larger number" in said


def test_a_column_that_differs_in_blanks_only_is_suggested() -> None:
    table = raw_table().rename(columns={"km": "KM "})
    with pytest.raises(ContractViolationError, match="did you mean 'KM '"):
        contract().parse_table(table, "casa/price")


def test_missing_values_where_none_are_allowed_are_refused() -> None:
    with pytest.raises(ContractViolationError, match="km: 1 of 2 rows hold no value"):
        contract().parse_table(raw_table(km=["1", None]), "casa/price")


NAMES = st.text(min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5))
def test_fields_of_any_name_keep_their_own_name(row: dict[str, float]) -> None:
    fields = {name: InputField(type=FieldType.NUMBER) for name in row}
    frame = Contract(fields).frame_of(Contract(fields).parse_rows([row]))
    assert list(frame.columns) == list(row)
    assert frame.iloc[0].to_numpy(dtype=np.float64).tolist() == list(row.values())


OPEN = Contract({"fuel": InputField(type=FieldType.CATEGORY, values=("Petrol", "Diesel"), others=True, max_length=8), "zone": InputField(type=FieldType.CATEGORY, values=(1, 2), others=True, nullable=True)})  # noqa: E501  # fmt: skip


def test_an_open_category_takes_what_is_not_listed() -> None:
    assert OPEN.parse_rows([{"fuel": "LPG", "zone": 7}, {"fuel": "Diesel", "zone": "north"}, {"fuel": "Petrol", "zone": None}]) == {
        "fuel": ["LPG", "Diesel", "Petrol"],
        "zone": ["7", "north", ""],
    }


@pytest.mark.parametrize("value", [7, 1.5, True, [], "", "far too long"])
def test_an_open_category_of_texts_takes_nothing_but_texts(value: Any) -> None:
    with pytest.raises(ContractViolationError, match="a category, such as Petrol, Diesel"):
        OPEN.parse_rows([{"fuel": value, "zone": 1}])


@pytest.mark.parametrize("value", [1.5, True, 2**60])
def test_an_open_category_of_whole_numbers_takes_no_other_number(value: Any) -> None:
    with pytest.raises(ContractViolationError):
        OPEN.parse_rows([{"fuel": "Petrol", "zone": value}])


def test_an_open_category_reads_tables_and_gives_back_what_it_read() -> None:
    frame = OPEN.parse_table(pd.DataFrame({"fuel": ["LPG", "Petrol"], "zone": ["9", None]}, dtype=object), "casa")
    assert OPEN.instances_of(frame) == [{"fuel": "LPG", "zone": "9"}, {"fuel": "Petrol", "zone": None}]


def test_others_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="others is for a category with values"):
        InputField(type=FieldType.CATEGORY, others=True)


@pytest.mark.parametrize(("word", "meaning"), [("ja", 1.0), ("Nee", 0.0), ("J", 1.0), (" waar ", 1.0), ("onwaar", 0.0), ("off", 0.0)])
def test_dutch_words_mean_yes_and_no_in_tables(word: str, meaning: float) -> None:
    frame = Contract({"garden": InputField(type=FieldType.BOOLEAN)}).parse_table(pd.DataFrame({"garden": [word]}), "casa")
    assert frame["garden"].tolist() == [meaning]


def test_dates_of_several_offsets_keep_their_local_time_in_tables_and_requests() -> None:
    both = Contract({"seen": InputField(type=FieldType.DATE, format="%Y-%m-%dT%H:%M:%S%z")})
    texts = ["2024-01-01T10:00:00+01:00", "2024-07-01T10:00:00+0200", "2024-07-01T10:00:00Z"]
    frame = both.parse_table(pd.DataFrame({"seen": texts}, dtype=object), "casa")
    assert both.columns_of(frame) == both.parse_rows([{"seen": text} for text in texts])
