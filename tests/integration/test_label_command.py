"""`label` from end to end: predictions and tables of two brands, sheets out and back, feedback, export."""

import csv
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from command_runs import run

from brandhouse_flows.datasets import read_table
from brandhouse_flows.label_book import LabelBook, PickedRow
from brandhouse_flows.label_export import export_labels
from brandhouse_serving.prediction_records import StoredPredictionRecords
from brandhouse_shared.names import ModelKey

VILLA = ModelKey("villa", "sold")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, make_workspace: Any, make_tables: Any) -> Any:
    """Both models in production; `casa` has answered 80 rows."""
    workspace = make_workspace(tmp_path_factory.mktemp("label"))
    workspace.train()
    workspace.train(VILLA)
    rows = make_tables.casa(80, seed=9)[["area", "rooms", "garden", "town"]].to_dict("records")
    answered = run(workspace, "predict", "casa/price", "--json", json.dumps([row | {"garden": row["garden"] == "yes"} for row in rows]))
    assert answered.returncode == 0, answered.stderr
    return workspace


def fill(sheet: Path, label: Callable[[dict[str, str]], str]) -> list[dict[str, str]]:
    """Fill in the empty column as a person would, in place."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"label": label(row)} for row in rows)
    return rows


def ok(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in done.args else done.stdout


def test_rows_of_the_log_go_out_come_back_and_become_feedback_and_training_data(house: Any, tmp_path: Path) -> None:
    sheet, table = tmp_path / "sheet.csv", tmp_path / "labelled.csv"
    told = ok(run(house, "label", "casa/price", "--pick", "40", "--random-share", "0.5", "--out", str(sheet), "--json"))
    assert (told["rows"], told["picked_by"], told["candidates"]) == (40, {"random": 20, "uncertainty": 20}, 80)
    rows = fill(sheet, lambda row: f"{float(row['area']) * 3000:.0f}")
    assert list(rows[0]) == ["row_id", "area", "rooms", "garden", "town", "label"], "neither the prediction nor how it was picked"
    taken = ok(run(house, "label", "casa/price", "--take", str(sheet), "--by-whom", "anna", "--json"))
    assert (taken["new"], taken["joined"], taken["had_a_label"]) == (40, 40, 0)
    again = ok(run(house, "label", "casa/price", "--take", str(sheet), "--by-whom", "ben", "--json"))
    assert (again["new"], again["joined"], again["had_a_label"]) == (40, 0, 40), "joined once"
    known = ok(run(house, "label", "casa/price", "--json"))
    assert (known["labelled"], known["people"], known["picked_at_random"]) == (40, {"anna": 40, "ben": 40}, 20)
    assert [(one["version"], one["metric"], one["rows"]) for one in known["quality"]] == [("v1", "mae", 20)]
    left = {record.id for record in StoredPredictionRecords(house.home).unlabelled(ModelKey("casa", "price"), 2, datetime.now(UTC))}
    assert len(left) == 40 and not left & {row["row_id"] for row in rows}
    out = ok(run(house, "label", "casa/price", "--export", str(table), "--with-snapshot", "--json"))
    assert (out["rows"], out["labelled"], out["incomplete"]) == (440, 40, [])
    (house.root / "sources/homes.csv").write_bytes(table.read_bytes())
    assert "price: 440 rows" in ok(run(house, "ingest", "casa", "--accept-new")), "the labelled rows fit the input schema"


def test_a_sheet_of_one_brand_is_refused_by_another(house: Any, tmp_path: Path, make_tables: Any) -> None:
    unlabelled, sheet = tmp_path / "new.csv", tmp_path / "sheet.csv"
    make_tables.villa(60, seed=5).drop(columns="sold").to_csv(unlabelled, index=False)
    shown = ok(run(house, "label", "villa/sold", "--pick", "10", "--from", str(unlabelled), "--out", str(sheet)))
    assert "not in the sheet, since personal or sensitive: region" in shown
    rows = fill(sheet, lambda row: "YES")
    assert list(rows[0]) == ["row_id", "Days on offer", "pool", "label"]
    refused = run(house, "label", "casa/price", "--take", str(sheet), "--by-whom", "anna")
    assert refused.returncode == 1 and "the row_id is none of casa/price" in refused.stderr
    assert (
        not (house.home / "labels/casa/price/labels.jsonl").exists()
        or "villa" not in (house.home / "labels/casa/price/labels.jsonl").read_text()
    )
    taken = ok(run(house, "label", "villa/sold", "--take", str(sheet), "--by-whom", "anna", "--json"))
    assert (taken["new"], taken["joined"]) == (10, 0), "rows of a table have no prediction to join"
    exported = tmp_path / "e.csv"
    ok(run(house, "label", "villa/sold", "--export", str(exported)))
    with exported.open() as file:
        assert {(row["sold"], bool(row["region"])) for row in csv.DictReader(file)} == {("yes", True)}, "what the sheet hid is kept"
    other = run(house, "label", "villa/sold", "--pick", "5", "--from", str(unlabelled), "--out", str(house.root / "brands/casa/x.csv"))
    assert other.returncode == 1 and "another brand's folder" in other.stderr


def test_a_sheet_that_may_hold_labels_is_not_overwritten(house: Any, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("row_id,label\nx,half done\n")
    done = run(house, "label", "casa/price", "--pick", "5", "--out", str(tmp_path / "s.csv"))
    assert done.returncode == 1 and "exists, and may hold labels" in done.stderr
    assert "half done" in (tmp_path / "s.csv").read_text()


def test_a_brand_that_may_not_store_predictions_is_told_so(house: Any, tmp_path: Path, make_tables: Any) -> None:
    house.append("brands/villa/brand.toml", "\n[capabilities]\nmay_store_predictions = false\n")
    done = run(house, "label", "villa/sold", "--pick", "5")
    assert done.returncode == 1
    assert "villa may not store predictions" in done.stderr and "--from FILE" in done.stderr
    unlabelled, sheet = tmp_path / "new.csv", tmp_path / "sheet.csv"
    make_tables.villa(40, seed=6).drop(columns="sold").to_csv(unlabelled, index=False)
    ok(run(house, "label", "villa/sold", "--pick", "9", "--from", str(unlabelled), "--out", str(sheet)))
    ids = {row["row_id"] for row in fill(sheet, lambda row: "no")}
    kept = [row for row_id, row in LabelBook(house.home, VILLA).picked().items() if row_id in ids]
    assert len(kept) == 9 and {(row.version, row.prediction) for row in kept} == {(None, None)}, "its model's answers are not kept"


def test_disagreement_needs_another_version(house: Any, tmp_path: Path) -> None:
    done = run(house, "label", "casa/price", "--pick", "5", "--by", "disagreement", "--out", str(tmp_path / "s.csv"))
    assert done.returncode == 1 and "there is no other version that could disagree with v1" in done.stderr
    house.edit("brands/casa/src/brand_casa/price.py", "n_estimators=60", "n_estimators=5")
    house.train()
    told = ok(run(house, "label", "casa/price", "--pick", "5", "--by", "disagreement", "--out", str(tmp_path / "s.csv"), "--json"))
    assert told["picked_by"] == {"disagreement": 4, "random": 1}


def test_an_export_is_written_as_the_dataset_is_declared(workspace: Any, tmp_path: Path, make_tables: Any) -> None:
    workspace.edit("brands/casa/brand.toml", 'file = "data/homes.csv"', 'file = "data/homes.csv"\nseparator = ";"\ndecimal = ","')
    source = workspace.root / "sources/homes.csv"
    make_tables.casa(60).to_csv(source, index=False, sep=";", decimal=",")
    casa = workspace.brand("casa")
    (casa.folder / "data/homes.csv.dvc").unlink()
    ok(run(workspace, "ingest", "casa"))
    before = read_table(casa.config.datasets["homes"], source)
    cells = {"area": "70.5", "rooms": "3", "garden": "yes", "town": "Gouda", "agent": "7", "listed": None}
    row = PickedRow("casa.price.row.1", "table", "random", None, None, None, cells, "t", "x")
    exported = tmp_path / "out.csv"
    export_labels(
        workspace.settings, casa, ModelKey("casa", "price"), {row.row_id: row}, {row.row_id: 1234.5}, exported, with_snapshot=True
    )
    after = read_table(casa.config.datasets["homes"], exported)
    assert after.iloc[:60].equals(before), "the present rows are as they were"
    assert after.iloc[60].to_dict() == cells | {"price": "1234.5"}
    assert "70,5;3;yes;Gouda;1234,5;7;" in exported.read_text()
