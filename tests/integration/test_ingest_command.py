"""`brandhouse ingest` with files handed over and bad rows, and `brandhouse data quarantine`: as a person types them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest


@pytest.fixture
def open_house(workspace: Any) -> Any:
    """A workspace whose brand casa takes its homes by hand, up to 5 percent bad rows."""
    source = 'source = { kind = "file", path = "../../sources/homes.csv" }'
    workspace.edit("brands/casa/brand.toml", source, 'source = { kind = "upload" }\nmax_bad_share = 0.05')
    (workspace.root / "brands/casa/data/homes.csv.dvc").unlink()
    return workspace


def write(folder: Path, table: pd.DataFrame, name: str = "homes of march.csv") -> str:
    path = folder / name
    table.to_csv(path, index=False)
    return str(path)


def test_a_file_handed_over_is_checked_and_taken_and_its_bad_rows_are_told(open_house: Any, make_tables: Any, tmp_path: Path) -> None:
    table = make_tables.casa().astype(object)
    table.loc[4, "town"] = "Atlantis"
    taken = open_house.run("ingest", "casa", "--from", write(tmp_path, table), "--json")
    assert taken.returncode == 0, taken.stderr
    (item,) = json.loads(taken.stdout)
    assert (item["dataset"], item["rows"], item["quarantined"], item["changed"]) == ("homes", {"price": 399}, {"price": 1}, True)
    again = open_house.run("ingest", "casa", "--from", write(tmp_path, table))
    assert "(as its pointer says); price: 399 rows\n  price: 1 rows in quarantine: " in again.stdout

    listed = open_house.run("data", "quarantine", "casa", "--json")
    (one,) = json.loads(listed.stdout)
    assert (one["field"], one["cells"], one["bad"], one["checked"]) == ("town", 1, 1, 400)
    assert Path(one["file"]).read_text().splitlines()[1].startswith("5,town,")


def test_data_that_contradict_the_contract_change_nothing_and_say_which_rows(open_house: Any, make_tables: Any, tmp_path: Path) -> None:
    table = make_tables.casa().astype(object)
    assert open_house.run("ingest", "casa", "--from", write(tmp_path, table)).returncode == 0
    pointer = (open_house.root / "brands/casa/data/homes.csv.dvc").read_text()
    table.loc[:99, "town"] = "Atlantis"
    refused = open_house.run("ingest", "casa", "--from", write(tmp_path, table))

    assert refused.returncode == 1
    assert "town: 100 of 400 rows hold another category; allowed: one of Delft, Gouda, Zwolle" in refused.stderr
    assert "Atlantis" not in refused.stderr
    file = Path(refused.stderr.partition("each row with its reason: ")[2].strip())
    assert len(file.read_text().splitlines()) == 101
    assert (open_house.root / "brands/casa/data/homes.csv.dvc").read_text() == pointer


@pytest.mark.slow
def test_a_file_for_a_brand_that_takes_none_is_refused(open_house: Any, make_tables: Any, tmp_path: Path) -> None:
    refused = open_house.run("ingest", "villa", "--from", write(tmp_path, make_tables.villa()))
    assert refused.returncode == 1 and "no dataset takes files by hand; name one with --dataset" in refused.stderr
    unknown = open_house.run("ingest", "casa", "--from", write(tmp_path, make_tables.casa()), "--dataset", "flats")
    assert unknown.returncode == 1 and "unknown dataset 'flats'; known: homes" in unknown.stderr
