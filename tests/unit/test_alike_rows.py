"""Logged objects cut at their commas: exactly what the parser of JSON makes of them, or nothing."""

import random
from typing import Any

import orjson
import pyarrow as pa
import pytest

from brandhouse_aftercare import input_columns
from brandhouse_aftercare.alike_rows import cut_alike
from brandhouse_aftercare.input_columns import read_inputs
from brandhouse_shared.config import InputField

TYPES = {"km": pa.float64(), "town": pa.string(), "is new": pa.bool_(), "code": pa.int64(), "gone": pa.string()}
FIELDS = {
    "km": {"type": "number", "nullable": True},
    "town": {"type": "category", "nullable": True},
    "is new": {"type": "boolean", "nullable": True},
    "code": {"type": "category", "values": [1, 2, 3], "nullable": True},
    "a very long name of a field": {"type": "text", "nullable": True},
    "gone": {"type": "text", "nullable": True},
}
ALIKE = b'{"km":1.5,"town":"Ede","is new":true,"code":1,"other":7}'


def texts(*rows: bytes) -> pa.ChunkedArray:
    return pa.chunked_array([[row.decode() for row in rows]], type=pa.string())


def cut(*rows: bytes) -> dict[str, list[Any]] | None:
    columns = cut_alike(texts(*rows), TYPES)
    return None if columns is None else {name: column.to_pylist() for name, column in columns.items()}


def test_fields_are_cut_out() -> None:
    found = cut(
        ALIKE,
        b'{"km":-2e-7,"town":"","is new":false,"code":-3,"other":null}',
        b'{"km":null,"town":null,"is new":null,"code":null,"other":1}',
    )

    assert found == {
        "km": [1.5, -2e-7, None],
        "town": ["Ede", "", None],
        "is new": [1.0, 0.0, None],
        "code": [1, -3, None],
        "gone": [None, None, None],
    }


@pytest.mark.parametrize(
    "odd",
    [
        b'{"town":"Ede","km":1.5,"is new":true,"code":1,"other":7}',
        b'{"km":1.5,"town":"Ede","is new":true,"code":1}',
        b'{"km":1.5,"town":"Ede, Wageningen","is new":true,"code":1,"other":7}',
        b'{"km":1.5,"town":"a \\"quote\\"","is new":true,"code":1,"other":7}',
        b'{"km":1.5,"town":3,"is new":true,"code":1,"other":7}',
        b'{"km":"1.5","town":"Ede","is new":true,"code":1,"other":7}',
        b'{"km":true,"town":"Ede","is new":true,"code":1,"other":7}',
        b'{"km":1.5,"town":"Ede","is new":1,"code":1,"other":7}',
        b'{"km":1.5,"town":"Ede","is new":true,"code":1.5,"other":7}',
        b'{"km":1.5,"town":"Ede","is new":true,"code":1,"other":[7]}',
        b'{"km":1.5,"town":"Ede","is new":true,"code":1,"other":{"other":7}}',
        b'{"km": 1.5, "town": "Ede", "is new": true, "code": 1, "other": 7}',
        b'{"km":1.5,"town":"Ede","is new":true,"kode":1,"other":7}',
        b"{}",
    ],
)
def test_a_row_of_another_shape_is_left_to_the_parser(odd: bytes) -> None:
    assert cut(ALIKE, ALIKE) is not None, "the other rows are alike"
    assert cut(ALIKE, odd, ALIKE) is None
    assert cut(odd, ALIKE) is None


def test_a_comma_too_many_and_one_too_few_are_seen() -> None:
    more = b'{"km":1.5,"town":"a,b","is new":true,"code":1,"other":7}'
    less = b'{"km":1.5,"town":"Ede","is new":true,"code":1}'

    assert cut(ALIKE, more, less) is None
    assert cut(ALIKE, less, more) is None


@pytest.mark.parametrize(
    "sly",
    [
        # As many commas as fields, the last of them in a nested value, and behind it what looks like the next field.
        b'{"km":1.5,"town":"Ede","is new":true,"code":{"a":1,"other":7}}',
        b'{"km":1.5,"town":"Ede","is new":true,"code":["a","other"]}',
        # A text that ends behind a comma.
        b'{"km":1.5,"town":"Ede,","is new":true,"code":1}',
    ],
)
def test_commas_at_places_that_are_none_between_fields_are_seen(sly: bytes) -> None:
    assert cut(ALIKE, sly) is None


def test_a_name_that_could_be_taken_for_something_else_is_left_to_the_parser() -> None:
    sly = b'{"km":1.5,",":"Ede"}'

    assert cut_alike(texts(sly), {",": pa.string()}) is None


def test_a_part_of_an_array_and_several_pieces_are_read() -> None:
    whole = texts(*(b'{"km":%d,"town":"t%d"}' % (place, place) for place in range(10))).combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole

    found = cut_alike(pa.chunked_array([whole.slice(2, 3), whole.slice(7)]), TYPES)

    assert found is not None
    assert found["km"].to_pylist() == [2, 3, 4, 7, 8, 9]
    assert found["town"].to_pylist() == ["t2", "t3", "t4", "t7", "t8", "t9"]


def random_row(rng: random.Random) -> bytes:
    row = {
        "km": rng.choice([None, 0, -0.0, 1e300, 5e-324, rng.getrandbits(70) / 7, rng.getrandbits(62), rng.gauss(0, 1e-9), rng.random()]),
        "town": rng.choice([None, "", "Ede", "'s-Hertogenbosch", "\u00e9\u4e2d\U0001f600", "{x}", "a:b", "hmac:0f"]),
        "is new": rng.choice([None, True, False]),
        "code": rng.choice([None, 1, 2, 3]),
        "a very long name of a field": rng.choice([None, "", "x" * rng.randrange(200), "\u00fc" * 9]),
        "left": rng.choice([None, 1, "z"]),
    }
    return orjson.dumps(row)


def test_a_thousand_rows_give_the_same_columns_as_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {name: InputField.model_validate(field) for name, field in FIELDS.items()}
    rng = random.Random(4)
    rows = texts(*(random_row(rng) for _ in range(1_000)))
    asked = []

    def noted(*arguments: Any) -> Any:
        asked.append(cut_alike(*arguments))
        return asked[-1]

    monkeypatch.setattr(input_columns, "cut_alike", noted)
    quick = {name: column.to_pylist() for name, column in read_inputs(rows, fields).items()}
    monkeypatch.setattr(input_columns, "cut_alike", lambda *_: None)
    slow = {name: column.to_pylist() for name, column in read_inputs(rows, fields).items()}

    assert asked[0] is not None, "the rows were cut, not parsed"
    assert {name: [repr(value) for value in column] for name, column in quick.items()} == {
        name: [repr(value) for value in column] for name, column in slow.items()
    }
