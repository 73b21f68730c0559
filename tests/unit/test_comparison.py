"""Two snapshots side by side: columns, rows, values; and silence about what may not be shown."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.comparison import Comparison, compare_tables
from brandhouse_flows.comparison_page import render_comparison
from brandhouse_flows.disclosure import ColumnRule, Disclosure, column_rules
from brandhouse_shared.config import BrandConfig, FieldType
from brandhouse_shared.errors import DatasetError

OPEN = ColumnRule(Disclosure.PUBLIC)
SECRET = "Vermeer-secret"


def table(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def compare(before: pd.DataFrame, after: pd.DataFrame, **named: Any) -> Comparison:
    rules = dict.fromkeys([*before.columns, *after.columns], OPEN) | named.pop("rules", {})
    return compare_tables(before, after, rules, **named)


def test_rows_without_a_key_are_matched_by_all_their_values_and_repeated_rows_counted() -> None:
    before = table(a=["1", "1", "2", None], b=["x", "x", "y", "z"])
    after = table(a=["1", "2", "2", None], b=["x", "y", "y", "q"])
    rows = compare(before, after).rows
    assert (rows.equal, rows.added, rows.removed, rows.changed, rows.key) == (2, 2, 2, None, None)
    assert rows.repeated_after == 1


def test_rows_with_a_key_are_equal_changed_added_or_removed() -> None:
    before = table(order_id=["a", "b", "c"], price=["1", "2", "3"], town=["x", "y", None])
    after = table(order_id=["d", "c", "b"], price=["9", "3.0", "5"], town=["x", None, "q"])
    found = compare(before, after)
    assert (found.rows.key, found.rows.equal, found.rows.changed, found.rows.added, found.rows.removed) == ("order_id", 1, 1, 1, 1)
    assert {one.name: one.changed_cells for one in found.columns} == {"order_id": 0, "price": 1, "town": 1}, "3 and 3.0 are one number"


def test_a_key_is_found_only_where_name_and_values_say_so_and_can_be_named() -> None:
    before, after = table(nr=["1", "2"], x=["1", "1"]), table(nr=["2", "3"], x=["1", "1"])
    assert compare(before, after).rows.key == "nr"
    assert compare(before.rename(columns={"nr": "paid"}), after.rename(columns={"nr": "paid"})).rows.key is None
    assert compare(before.rename(columns={"nr": "z"}), after.rename(columns={"nr": "z"}), key="z").rows.key == "z"
    for key, message in (("x", "is empty or repeated"), ("y", "is not in both snapshots; columns of both: nr, x")):
        with pytest.raises(DatasetError, match=message):
            compare(before, after, key=key)


def test_columns_that_came_went_moved_or_changed_their_type_are_told() -> None:
    found = compare(table(a=["1", "2"], b=["x", "y"], c=["1", "2"]), table(b=["x", "y"], a=["one", "two"], d=["1", "2"]))
    assert (found.added_columns, found.removed_columns, found.is_reordered) == (("d",), ("c",), True)
    assert found.retyped == {"a": ("number", "category")}


def test_new_and_vanished_categories_and_missing_shares_are_told_with_their_effect() -> None:
    before = table(fuel=["gas"] * 50 + ["oil"] * 50, km=[str(n) for n in range(100)])
    after = table(fuel=["gas"] * 50 + ["sun"] * 50, km=[None] * 60 + [str(n) for n in range(40)])
    fuel, km = sorted(compare(before, after).columns, key=lambda one: one.name)
    assert (fuel.new_named, fuel.vanished_named, fuel.effect, fuel.word) == (("sun",), ("oil",), 0.5, "large")
    assert (km.after.missing_share, km.effect, km.word) == (0.6, 0.6, "large"), "what is gone counts, though 0 to 39 look the same"


def test_dates_and_numbers_are_measured_and_equal_tables_have_no_effect() -> None:
    days = [str(day.date()) for day in pd.date_range("2024-01-01", periods=60)]
    one = table(seen=days, n=[str(n / 7) for n in range(60)], word=[f"w{n}" * (n + 1) for n in range(60)] + [])
    found = compare(one, one)
    assert {change.type for change in found.columns} == {"date", "number", "category"}
    assert {change.word for change in found.columns} == {"none"}
    assert found.rows.equal == 60


def test_columns_with_declared_types_survive_values_that_contradict_them() -> None:
    before, after = table(n=["1", "2", "?"]), table(n=["1", "x", "2.0"])
    (change,) = compare(before, after, rules={"n": ColumnRule(Disclosure.PUBLIC, FieldType.NUMBER)}).columns
    assert (change.type, change.word) == ("number", "none")


@pytest.mark.parametrize("disclosure", [Disclosure.PERSONAL, Disclosure.SENSITIVE, Disclosure.UNDECLARED])
@pytest.mark.parametrize("values", [[SECRET, "Hals-secret"], ["7131313", "8181818"], ["1931-07-13", "2024-01-01"]])
def test_no_value_of_a_hidden_column_reaches_document_or_page(disclosure: Disclosure, values: list[str]) -> None:
    before, after = table(who=[values[1]] * 3), table(who=[values[0]] * 3)
    found = compare(before, after, rules={"who": ColumnRule(disclosure)})
    assert (found.columns[0].new_values, found.columns[0].effect) == (1, 1.0), "counts and effects stay"
    page = render_comparison(found, title="casa/homes", before="a", after="b")
    for text in (json.dumps(found.as_document()), page):
        assert not any(value in text for value in values)
        assert str(disclosure) in text


def test_the_page_is_small_needs_no_network_and_escapes_names_and_values() -> None:
    generator = np.random.default_rng(0)
    evil = "<script>alert(1)</script>"
    columns = {f"c{n}": [str(value) for value in generator.normal(size=300)] for n in range(30)}
    before, after = table(**columns, **{evil: [evil] * 300}), table(**columns, **{evil: ["x"] * 300})
    page = render_comparison(compare(before, after), title="casa/homes", before="a", after="b")
    assert evil not in page and "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert len(page) < 150_000
    assert page.count("<svg") == 31


def test_empty_sides_are_unknown_and_not_an_error() -> None:
    (change,) = compare(table(a=[None, None]), table(a=[None])).columns
    assert (change.effect, change.word) == (None, "unknown")


BRAND = {
    "name": "casa",
    "title": "Casa",
    "story": "Invented.",
    "owner": "casa@house.example",
    "risk": "low",
    "budget_eur_month": 1,
    "datasets": {"homes": {"file": "data/homes.csv", "source": {"kind": "file", "path": "h.csv"}}},
    "models": {
        "price": {
            "entrypoint": "brand_casa.price",
            "dataset": "homes",
            "task": "regression",
            "target": "price",
            "metric": "mae",
            "slices": ["region"],
            "split": {"kind": "grouped", "by": "agent"},
            "inputs": {"area": {"type": "number"}, "name": {"type": "text"}},
        },
        "rent": {
            "entrypoint": "brand_casa.rent",
            "dataset": "homes",
            "task": "regression",
            "target": "rent",
            "metric": "mae",
            "inputs": {"name": {"type": "text", "privacy": "personal"}, "price": {"type": "number", "privacy": "sensitive"}},
        },
    },
}


def test_the_strictest_model_decides_and_what_no_model_declares_is_hidden() -> None:
    config = BrandConfig.model_validate(BRAND)
    names = ["area", "name", "price", "rent", "region", "agent", "phone"]
    rules = {name: str(rule.disclosure) for name, rule in column_rules(config, "homes", names).items()}
    assert rules == {
        "area": "public",
        "name": "personal",
        "price": "sensitive",
        "rent": "public",
        "region": "public",
        "agent": "undeclared",
        "phone": "undeclared",
    }
    shown = column_rules(config, "homes", names, show_undeclared=True)
    assert [name for name in names if not shown[name].shows_values] == ["name", "price"], "personal stays personal"
