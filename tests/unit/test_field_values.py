"""Whole columns are read as single values are: what is accepted, what it becomes, and what is said of the rest."""

import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.contracts import COLUMN_ROWS, Contract
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.field_values import build_column_reader, build_parser

FIELDS = {
    "number": InputField(type=FieldType.NUMBER),
    "bounded": InputField(type=FieldType.NUMBER, min=-1.5, max=10, nullable=True),
    "whole": InputField(type=FieldType.INTEGER, min=0),
    "flag": InputField(type=FieldType.BOOLEAN, nullable=True),
    "listed": InputField(type=FieldType.CATEGORY, values=("a", "b"), nullable=True),
    "codes": InputField(type=FieldType.CATEGORY, values=(0, 1, 2)),
    "mixed": InputField(type=FieldType.CATEGORY, values=("1", 1, True)),
    "open": InputField(type=FieldType.CATEGORY, values=("a", 1), others=True, max_length=4, nullable=True),
    "free": InputField(type=FieldType.CATEGORY, max_length=4),
    "text": InputField(type=FieldType.TEXT, max_length=4, nullable=True),
    "day": InputField(type=FieldType.DATE, nullable=True),
}
EDGES: list[Any] = [None, True, False, 0, 1, 3, -1, 0.0, 1.0, 2.5, -1.5, 10, 10.5, 2**53, 2**53 + 1, 2**60, 10**308, 10**400, -(10**400)]
EDGES += [1.7e308, math.nan, math.inf, -math.inf, "", "a", "b", "1", "abcde", "é", "\ud800", [], ["a"], {}, {"a": 1}]
EDGES += ["2024-02-29", "2023-02-29", "2024-2-9", "2024-01- 1", "2024-W01-1", "0900-01-01", "20240101", "２０２４-01-01"]
USUAL: dict[str, list[Any]] = {
    "number": [0, 1.5, -3],
    "bounded": [0, 1.5, None],
    "whole": [0, 7],
    "flag": [True, False, None],
    "listed": ["a", "b", None],
    "codes": [0, 2],
    "mixed": [1, "1", True],
    "open": ["a", "new", 1, None],
    "free": ["a", "b"],
    "text": ["", "a", "é", None],
    "day": ["2024-02-29", None],
}


def together(contract: Contract, rows: list[Any]) -> str | None:
    """The columns of a request as text, which also compares NaN; None if it is refused."""
    try:
        return repr(contract.parse_rows(rows))
    except ContractViolationError:
        return None


def one_by_one(contract: Contract, rows: list[Any]) -> str | None:
    """The same, put together of requests of one row each."""
    columns: dict[str, list[Any]] = {name: [] for name in contract.fields}
    try:
        for row in rows:
            for name, values in contract.parse_rows([row]).items():
                columns[name] += values
    except ContractViolationError:
        return None
    return repr(columns)


@st.composite
def requests(draw: st.DrawFn) -> list[Any]:
    """Rows that are mostly right, with up to two odd places."""
    count = draw(st.integers(COLUMN_ROWS, COLUMN_ROWS + 6))
    rows: list[Any] = [{name: draw(st.sampled_from(values)) for name, values in USUAL.items()} for _ in range(count)]
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(range(count)))
        match draw(st.integers(0, 4)):
            case 0 if isinstance(rows[row], dict):
                rows[row].pop(draw(st.sampled_from(list(USUAL))), None)
            case 1 if isinstance(rows[row], dict):
                rows[row]["extra"] = 1
            case 2:
                rows[row] = draw(st.sampled_from(EDGES))
            case _ if isinstance(rows[row], dict):
                rows[row][draw(st.sampled_from(list(USUAL)))] = draw(st.sampled_from(EDGES))
    return rows


@given(requests())
def test_many_rows_are_accepted_refused_and_read_as_each_alone(rows: list[Any]) -> None:
    contract = Contract(FIELDS)
    assert together(contract, rows) == one_by_one(contract, rows)


@given(st.sampled_from(sorted(FIELDS)), st.lists(st.sampled_from(EDGES), min_size=1, max_size=4))
def test_a_column_read_at_once_is_one_of_which_every_value_is_taken(name: str, values: list[Any]) -> None:
    column = build_column_reader(FIELDS[name])(values) if not unsure(FIELDS[name], values) else None
    if column is not None:
        assert repr(column) == repr([build_parser(FIELDS[name])(value) for value in values])


def unsure(field: InputField, values: list[Any]) -> bool:
    """Whether the reader raises, which the contract takes for "not certain"."""
    try:
        build_column_reader(field)(values)
    except OverflowError:
        return True
    return False


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.type is not FieldType.DATE])
def test_the_usual_columns_are_indeed_read_at_once(name: str) -> None:
    present = [value for value in USUAL[name] if value is not None and value not in ("new", "é")]
    same_type = [value for value in present if type(value) is type(present[0])]
    assert build_column_reader(FIELDS[name])(same_type * 10) is not None


def test_numbers_that_only_together_leave_the_range_of_floats_are_taken() -> None:
    contract = Contract({"x": FIELDS["number"], "y": FIELDS["number"]})
    rows = [{"x": 1.7e308, "y": 10**308}] * COLUMN_ROWS
    assert contract.parse_rows(rows) == {"x": [1.7e308] * COLUMN_ROWS, "y": [1e308] * COLUMN_ROWS}


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2024-02-29", datetime(2024, 2, 29)), ("2024-2-9", datetime(2024, 2, 9)), ("2024-01- 1", datetime(2024, 1, 1)), ("2024-W01-1", None)],
)
def test_dates_are_taken_as_strptime_takes_them(text: str, moment: datetime | None) -> None:
    rows = [{"day": text}]
    if moment is None:
        with pytest.raises(ContractViolationError, match="no such date"):
            Contract({"day": FIELDS["day"]}).parse_rows(rows)
    else:
        assert Contract({"day": FIELDS["day"]}).parse_rows(rows) == {"day": [moment]}
