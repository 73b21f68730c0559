"""What monitors found, where people and Prometheus see it: the command and the gateway's metrics."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_runs import run
from prometheus_client.parser import text_string_to_metric_families
from watch_house import WatchHouse, make_rows

from brandhouse_serving import check_series
from brandhouse_serving.check_series import CheckSeries
from brandhouse_serving.metrics import Metrics
from brandhouse_shared.errors import LedgerError
from brandhouse_shared.ledger.records import Entry, EntryKind


@pytest.fixture
def house(tmp_path: Path) -> WatchHouse:
    return WatchHouse(tmp_path / "house")


def settle(house: WatchHouse, name: str, km: float) -> None:
    brand = house.add_brand(name)
    training = make_rows(2_000, seed=1)
    version = house.register(brand, training, training["km"].to_numpy()[:500])
    live, now = make_rows(600, seed=2, km=km), datetime.now(UTC)
    house.answer(version, brand, live, live["km"].to_numpy(), now - timedelta(hours=12), now)


def find(house: WatchHouse, brand: str, check: str, state: str, value: float | None = None, *, minutes: int = 0) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    entry = Entry(kind=EntryKind.CHECK, brand=brand, model="price", name=check, state=state, value=value, detail="x", actor="tester", at=at)
    house.ledger.record_entry(entry)


def shown(metrics: Metrics, checks: CheckSeries, brand: str | None = None) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = metrics.render(brand, checks.series()).decode()
    return {one.name: [(sample.labels, sample.value) for sample in one.samples] for one in text_string_to_metric_families(text)}


def test_the_command_prints_every_check_and_ends_with_1_if_one_is_red(house: WatchHouse) -> None:
    settle(house, "duin", km=2.0)
    settle(house, "hei", km=0.0)
    done = run(house, "monitor", "--json", "--silent")
    assert done.returncode == 1
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    assert [(report["brand"], report["version"]) for report in reports] == [("duin", "v1"), ("hei", "v1")]
    states = {report["brand"]: {one["check"]: one["state"] for one in report["checks"]} for report in reports}
    assert (states["duin"]["drift"], states["hei"]["drift"]) == ("red", "green")
    assert not house.ledger.entries(EntryKind.ALERT), "--silent tells nobody"
    table = run(house, "monitor", "duin/price", "--days", "2", "--silent").stdout
    assert "duin/price" in table and "of the rows lie elsewhere than in training" in table and "hei" not in table


def test_a_house_without_versions_says_so(house: WatchHouse) -> None:
    house.add_brand("duin")
    done = run(house, "monitor")
    assert (done.returncode, done.stdout) == (0, "no model has a version in production yet: there is nothing to watch\n")


def test_the_newest_findings_are_series_of_the_gateway_and_a_brand_sees_its_own(house: WatchHouse) -> None:
    find(house, "duin", "drift", "green", 0.1)
    find(house, "duin", "drift", "red", 0.4, minutes=5)
    find(house, "duin", "skew", "unknown")
    find(house, "hei", "drift", "green", 0.2)
    metrics, checks = Metrics(), CheckSeries(house.ledger)
    found = shown(metrics, checks)
    duin = {"brand": "duin", "model": "price", "check": "drift"}
    assert (duin, 1.0) in found["brandhouse_check_red"]
    assert (duin | {"state": "red"}, 1.0) in found["brandhouse_check_state"]
    assert (duin | {"check": "skew", "state": "unknown"}, 1.0) in found["brandhouse_check_state"]
    assert (duin, 0.4) in found["brandhouse_check_value"]
    assert [value for labels, value in found["brandhouse_check_age_seconds"] if labels == duin][0] == pytest.approx(300, abs=30)  # noqa: RUF015
    assert len(found["brandhouse_check_ran_timestamp_seconds"]) == 2
    own = shown(metrics, checks, "hei")
    assert [labels["brand"] for labels, _ in own["brandhouse_check_red"]] == ["hei"]


def test_a_ledger_that_is_gone_costs_no_other_series(house: WatchHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    find(house, "duin", "drift", "red")
    checks = CheckSeries(house.ledger)
    assert checks.series()

    def fail(*_: object) -> None:
        raise LedgerError("gone")

    monkeypatch.setattr(check_series, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(house.ledger, "newest_entries", fail)
    assert checks.series(), "what was read last goes on"
