"""Rows that contradict the input schema are kept aside, counted and told, and never trained on."""

import csv
import json
import stat
from typing import Any

import pandas as pd
import pytest

from brandhouse_flows.acceptance import check_model, find_quarantined
from brandhouse_flows.intake import ingest
from brandhouse_flows.material import read_learnable_rows
from brandhouse_flows.snapshot_records import take_snapshot
from brandhouse_flows.steps import call_step
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")


def spoil(workspace: Any, table: pd.DataFrame, *, allowed: float | None = 0.05) -> Any:
    """Give casa a table with four bad rows: 3 (two faults), 10, 20 and, without a target, 30."""
    table = table.astype(object)
    table.loc[2, ["area", "town"]] = ["9999", "Atlantis"]
    table.loc[9, "rooms"] = "many"
    table.loc[19, "price"] = "on request"
    table.loc[29, ["area", "price"]] = ["-5", None]
    workspace.write_table("casa", "homes", table)
    if allowed is not None:
        workspace.edit("brands/casa/brand.toml", 'file = "data/homes.csv"', f'file = "data/homes.csv"\nmax_bad_share = {allowed}')
    return workspace.brand("casa")


def listed(workspace: Any) -> list[dict[str, str]]:
    (file,) = (workspace.home / "quarantine" / "casa").rglob("*.csv")
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_bad_rows_are_listed_with_number_field_and_reason(workspace: Any, make_tables: Any) -> None:
    brand = spoil(workspace, make_tables.casa())
    (item,) = ingest(workspace.settings, brand, workspace.ledger, call_step)

    assert item.quarantined == {"price": 3}, "a row with two faults is one row; one without a target is not learned from anyway"
    assert item.rows == {"price": 396}
    lines = listed(workspace)
    assert [(line["row"], line["field"]) for line in lines] == [("3", "area"), ("3", "town"), ("10", "rooms"), ("20", "price")]
    assert lines[0]["reason"] == "a larger number; allowed: a number at least 10 and at most 400"
    raw = json.loads(lines[2]["raw"])
    assert raw["rooms"] == "many" and "agent" not in raw, "the raw row, of the columns that the model names"
    file = item.checked["price"].file
    assert file is not None and stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_sensitive_field_is_not_copied_out(workspace: Any, make_tables: Any) -> None:
    workspace.edit("brands/casa/brand.toml", 'town = { type = "category",', 'town = { type = "category", privacy = "sensitive",')
    workspace.edit("brands/casa/brand.toml", 'risk = "low"', 'risk = "high"')
    ingest(workspace.settings, spoil(workspace, make_tables.casa()), workspace.ledger, call_step)

    assert "Atlantis" not in next((workspace.home / "quarantine").rglob("*.csv")).read_text()
    assert {line["field"] for line in listed(workspace)} == {"area", "town", "rooms", "price"}, "but it is told that it is bad"


def test_without_leave_for_bad_rows_all_is_refused_and_the_rows_are_listed(workspace: Any, make_tables: Any) -> None:
    brand = spoil(workspace, make_tables.casa(), allowed=None)

    with pytest.raises(ContractViolationError, match="3 of 399 rows refused") as caught:
        ingest(workspace.settings, brand, workspace.ledger, call_step)
    assert "each row with its reason: " in str(caught.value)
    assert not {"Atlantis", "on request", "many"} & set(str(caught.value).split()), "no value of a row in a message"
    assert len(listed(workspace)) == 4


def test_too_many_bad_rows_are_refused(workspace: Any, make_tables: Any) -> None:
    brand = spoil(workspace, make_tables.casa(), allowed=0.005)

    with pytest.raises(ContractViolationError, match=r"\(0.75%\); allowed: max_bad_share = 0.005"):
        ingest(workspace.settings, brand, workspace.ledger, call_step)
    with pytest.raises(ContractViolationError, match="max_bad_share"):
        workspace.train(CASA)


def test_training_leaves_the_rows_out_says_so_and_is_the_same_again(workspace: Any, make_tables: Any) -> None:
    spoil(workspace, make_tables.casa())
    first = workspace.train(CASA)

    assert first.detail.endswith("; 3 rows of the snapshot are in quarantine"), first.detail
    assert "3 in quarantine" in first.card
    record = workspace.ledger.find_version(first.version).record
    assert record.rows_train + record.rows_holdout == 396
    assert workspace.train(CASA).kind == "unchanged"
    workspace.edit("brands/casa/brand.toml", "max_bad_share = 0.05", "max_bad_share = 0.5")
    assert workspace.train(CASA).kind == "unchanged", "what is allowed does not change what is trained"


def test_a_clean_table_has_no_file_and_the_same_rows_as_before(workspace: Any) -> None:
    brand = workspace.brand("casa")
    snapshot = take_snapshot(workspace.settings, brand, "homes", workspace.ledger)
    plain, _ = read_learnable_rows(brand, brand.model("price"), "casa/price", snapshot)
    workspace.edit("brands/casa/brand.toml", 'file = "data/homes.csv"', 'file = "data/homes.csv"\nmax_bad_share = 0.05')
    lenient = workspace.brand("casa")
    table, _ = read_learnable_rows(lenient, lenient.model("price"), "casa/price", snapshot)

    pd.testing.assert_frame_equal(plain, table)
    assert check_model(workspace.settings, lenient, "price", snapshot).file is None
    assert not list((workspace.home).glob("quarantine/**/*.csv"))
    assert find_quarantined(workspace.settings, lenient) == []


def test_what_is_in_quarantine_can_be_asked(workspace: Any, make_tables: Any) -> None:
    spoil(workspace, make_tables.casa())
    found = find_quarantined(workspace.settings, workspace.brand("casa"))

    assert [(one.field, one.cells, one.bad, one.checked) for one in found] == [
        ("area", 1, 3, 399),
        ("rooms", 1, 3, 399),
        ("town", 1, 3, 399),
        ("price", 1, 3, 399),
    ]
    assert find_quarantined(workspace.settings, workspace.brand("villa")) == []
    assert not (workspace.home / "quarantine" / "villa").exists()


@pytest.mark.parametrize("key", ["schedule", "max_bad_share"])
def test_new_keys_of_a_dataset_leave_fingerprints_as_they_were(workspace: Any, key: str) -> None:
    from brandhouse_flows.planning import plan_training

    def digest() -> str:
        return plan_training(workspace.settings, CASA, "run", "local").declaration_digest

    before = digest()
    value = {"schedule": '{ cron = "0 5 * * *" }', "max_bad_share": "0.1"}[key]
    workspace.edit("brands/casa/brand.toml", 'file = "data/homes.csv"', f'file = "data/homes.csv"\n{key} = {value}')
    assert digest() == before


def test_a_brand_that_declares_nothing_new_keeps_its_fingerprint(workspace: Any) -> None:
    """As of the first release. What changes it makes every model of every brand train again: be sure that it must."""
    from brandhouse_flows.planning import plan_training

    known = {
        "casa/price": "04dd681406a8c9fb1fdcdbd773b555791b119ab53498a998f0282b339f6faa8c",
        "villa/sold": "0f298c570e61aa09628679a1927a38f6c09ec94d132d580c701ecefbd6837762",
    }
    for key, digest in known.items():
        plan = plan_training(workspace.settings, ModelKey.parse(key), "run", "local")
        assert plan.declaration_digest == digest, f"{key} would train again for a key that it does not use"
