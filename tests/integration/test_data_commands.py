"""`data log`, `pull`, `diff` and `report` on real data projects of two brands."""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from command_runs import run

from brandhouse_flows.snapshot_log import UnknownSnapshotError, read_snapshot_log
from brandhouse_flows.snapshot_report import find_report, keep_report
from brandhouse_shared.errors import DatasetError

TOWNS = ("coast", "lake", "hills")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, make_workspace: Any, make_tables: Any) -> Any:
    """Two brands, `casa` with three snapshots of which v1 was trained on the second; tests only read it."""
    from brandhouse_flows.intake import ingest
    from brandhouse_flows.steps import call_step

    workspace = make_workspace(tmp_path_factory.mktemp("data"))
    tables = [make_tables.casa(300), make_tables.casa(400), make_tables.casa(400)]
    tables[2].loc[:99, "town"] = "Gouda"
    for position, table in enumerate(tables):
        workspace.write_table("casa", "homes", table, pointer=position == 0)
        ingest(workspace.settings, workspace.brand("casa"), workspace.ledger, call_step, accept_new=position > 0)
        if position == 1:
            workspace.train()
    ingest(workspace.settings, workspace.brand("villa"), workspace.ledger, call_step)
    return workspace


def hashes(house: Any, brand: str = "casa") -> list[str]:
    return [record.hash_md5 for record in house.ledger.snapshots(brand)]


def test_log_lists_snapshots_newest_first_with_the_versions_trained_on_them(house: Any) -> None:
    found = json.loads(run(house, "data", "log", "casa", "--json").stdout)
    assert [item["hash_md5"] for item in found] == hashes(house)
    assert [(item["rows"], item["current"], len(item["versions"])) for item in found] == [(400, True, 0), (400, False, 1), (300, False, 0)]
    assert found[1]["versions"] == [{"version": "casa/price/v1", "stage": "production"}]
    table = run(house, "data", "log", "casa/homes").stdout
    assert "price/v1 (production)" in table and hashes(house, "villa")[0][:12] not in table


def test_words_versions_and_prefixes_name_snapshots(house: Any) -> None:
    newest, middle, oldest = hashes(house)
    log = read_snapshot_log(house.settings, house.brand("casa"), "homes", house.ledger)
    words = {"current": newest, "previous": middle, "first": oldest, "v1": middle, "price/v1": middle, oldest[:6]: oldest}
    assert {word: log.find(word) for word in words} == words
    for wrong in ("v2", "nonsense", "", newest[:3], "rent/v1", hashes(house, "villa")[0]):
        with pytest.raises(UnknownSnapshotError, match="allowed: current, previous, first, a version such as v3"):
            log.find(wrong)


def test_pull_brings_any_snapshot_and_never_into_another_brand(house: Any, tmp_path: Path) -> None:
    oldest = hashes(house)[-1]
    done = run(house, "data", "pull", "casa", "--snapshot", oldest[:8], "--to", str(tmp_path / "out"))
    assert done.stdout == f"{tmp_path / 'out' / 'homes.csv'}\n", done.stderr
    assert hashlib.md5((tmp_path / "out/homes.csv").read_bytes()).hexdigest() == oldest
    for place, message in ((house.root / "brands/villa/data", "another brand's folder"), (house.home / "x", "the platform's own state")):
        refused = run(house, "data", "pull", "casa", "--to", str(place))
        assert refused.returncode == 1 and message in refused.stderr and not (place / "homes.csv").exists()


def test_a_brand_never_gets_another_brands_snapshot(house: Any) -> None:
    foreign = hashes(house, "villa")[0]
    done = run(house, "data", "pull", "casa/homes", "--snapshot", foreign)
    assert done.returncode == 1 and "is no snapshot of this dataset" in done.stderr
    with pytest.raises(DatasetError):
        keep_report(house.settings, house.brand("casa"), "homes", foreign)
    assert run(house, "data", "log", "casa/offers").returncode == 1


def test_diff_as_table_json_and_page(house: Any, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    done = run(house, "data", "diff", "casa", "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert "rows: 400 -> 400;" in done.stdout and re.search(r"town +values +0\.1\d+ +clear", done.stdout)
    assert "counts (undeclared)" in done.stdout
    assert "town" in page.read_text()
    found = json.loads(run(house, "data", "diff", "casa", "first", "v1", "--json").stdout)
    assert (found["before"], found["after"]) == tuple(hashes(house)[::-1][:2])
    assert (found["rows"]["before"], found["rows"]["after"]) == (300, 400)


def test_the_report_is_made_once_shows_no_hidden_value_and_needs_no_network(house: Any) -> None:
    villa = house.brand("villa")
    (offers,) = hashes(house, "villa")
    made = keep_report(house.settings, villa, "offers", offers)
    path = Path(made.path)
    assert path.is_relative_to(house.home / "snapshots" / "villa" / offers)
    page = path.read_text()
    assert "Days on offer" in page and "region" in page and not any(town in page for town in TOWNS)
    assert "default-src 'none'" in page
    assert not re.search(r"""<(script|link|img|iframe)[^>]*(src|href)=|url\((?!["']?(#|data:))|@import""", page)
    assert made.html_bytes < 500_000
    written = path.stat().st_mtime_ns
    assert keep_report(house.settings, villa, "offers", offers) == made and path.stat().st_mtime_ns == written


def test_a_column_declared_personal_later_leaves_no_report_that_shows_it(house: Any) -> None:
    newest = hashes(house)[0]
    before = keep_report(house.settings, house.brand("casa"), "homes", newest)
    assert "Zwolle" in Path(before.path).read_text()
    house.edit("brands/casa/brand.toml", '"Zwolle"]', '"Zwolle"], privacy = "personal"')
    try:
        assert find_report(house.settings, house.brand("casa"), "homes", newest) is None
        assert not Path(before.path).exists()
        after = keep_report(house.settings, house.brand("casa"), "homes", newest)
        assert "Zwolle" not in Path(after.path).read_text() and after.hidden == before.hidden + 1
        assert "Zwolle" not in run(house, "data", "diff", "casa", "--json").stdout
    finally:
        house.edit("brands/casa/brand.toml", '"Zwolle"], privacy = "personal"', '"Zwolle"]')
