"""Logged JSON objects as columns."""

from typing import Any

import pyarrow as pa
import pytest

from brandhouse_aftercare import input_columns
from brandhouse_aftercare.input_columns import read_inputs
from brandhouse_shared.config import InputField

FIELDS = {
    "km": {"type": "number", "nullable": True},
    "age/years": {"type": "integer"},
    "é yes": {"type": "boolean", "nullable": True},
    "town": {"type": "category", "nullable": True},
    "code": {"type": "category", "values": [1, 2], "others": True},
    "note": {"type": "text", "nullable": True},
    "day": {"type": "date", "nullable": True},
    "phone": {"type": "text", "privacy": "personal", "nullable": True},
    "health": {"type": "text", "privacy": "sensitive"},
}
ROW = '{"km": 1.5, "age/years": 7, "é yes": true, "town": "Ede", "code": 1, "note": "abcd", "day": "2026-01-01", "phone": "hmac:1"}'
EMPTY = '{"km": null, "age/years": 8.0, "town": "", "code": 2, "note": "\\u00e9\\n", "day": null}'


def read(*rows: str) -> dict[str, list[Any]]:
    fields = {name: InputField.model_validate(field) for name, field in FIELDS.items()}
    return {name: column.to_pylist() for name, column in read_inputs(pa.chunked_array([list(rows)]), fields).items()}


EXPECTED = {
    "km": [1.5, None],
    "age/years": [7.0, 8.0],
    "é yes": [1.0, None],
    "town": ["Ede", None],
    "code": ["1", "2"],
    "note": [4.0, 2.0],
    "day": [1.0, None],
    "phone": ["hmac:1", None],
}


def test_objects_become_columns_and_texts_only_their_length() -> None:
    assert read(ROW, EMPTY) == EXPECTED


def test_the_slow_way_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_columns, "LONGEST_BLOCK", 1)
    assert read(ROW, EMPTY) == EXPECTED


def test_a_category_of_numbers_and_texts_is_read_all_the_same() -> None:
    assert read(ROW, ROW.replace('"code": 1', '"code": "new"'))["code"] == ["1", "new"]


def test_a_row_that_is_longer_than_a_block_is_read() -> None:
    long = ROW.replace("abcd", "x" * 3_000_000)
    assert read(ROW, long, ROW)["note"] == [4.0, 3_000_000.0, 4.0]


def test_no_row_is_no_value() -> None:
    assert set(map(len, read().values())) == {0}
