"""Every key of a TOML text has its line and column, however it is written."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brandhouse_flows.toml_lines import Place, find_places, nearest_place

TEXT = '''# comment = 1
title = "a # no comment = 2"
"quoted.key" = """
inside = "no key"
"""
point = { x = 1, 'y z' = { "deep" = [1, { inner = 2 }] } } # tail
a . b = 'it''s'
list = [
  "one", # first
  { two = 2 },
]

[tables."No. of beds".more]
dotted.key = true
"caf\\u00e9" = 1979-05-27 07:32:00

[[rows]]
value = 1
[[rows]]
value = 2
[rows.below]
last = -1.5e3'''.replace("'it''s'", "'its'")


def paths(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, str(key))
        yield from paths(child, (*path, str(key)))


def test_exactly_the_keys_of_the_document_have_a_place() -> None:
    assert set(find_places(TEXT)) == set(paths(tomllib.loads(TEXT)))


EXPECTED = {
    ("title",): "title =",
    ("quoted.key",): '"quoted.key"',
    ("point", "x"): "x = 1",
    ("point", "y z", "deep"): '"deep"',
    ("point", "y z", "deep", "1", "inner"): "inner =",
    ("a", "b"): "a . b",
    ("list", "1", "two"): "two =",
    ("tables", "No. of beds", "more"): '[tables."No. of beds".more]',
    ("tables", "No. of beds", "more", "dotted", "key"): "dotted.key",
    ("tables", "No. of beds", "more", "café"): '"caf\\u00e9"',
    ("rows", "0", "value"): "value = 1",
    ("rows", "1", "value"): "value = 2",
    ("rows", "1", "below", "last"): "last =",
}


@pytest.mark.parametrize("path", EXPECTED, ids=".".join)
def test_place_is_where_the_key_begins(path: tuple[str, ...]) -> None:
    place = find_places(TEXT)[path]
    assert TEXT.splitlines()[place.line - 1][place.column - 1 :].startswith(EXPECTED[path])


def test_missing_key_is_at_the_nearest_table_that_is_written() -> None:
    places = find_places(TEXT)
    assert nearest_place(places, ("rows", "1", "below", "absent", "deeper")) == places[("rows", "1", "below")]
    assert nearest_place(places, ("absent",)) is None


def test_windows_line_ends_count_once() -> None:
    assert find_places("a = 1\r\nb = 2\r\n")[("b",)] == Place(2, 1)


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("brands/*/brand.toml")), ids=lambda file: file.parent.name)
def test_all_keys_of_the_shipped_brands_are_placed(file: Path) -> None:
    text = file.read_text()
    assert set(find_places(text)) == set(paths(tomllib.loads(text)))
