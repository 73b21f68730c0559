"""The `monitor` flow under Prefect: what it shows, whom it tells, and that it needs no server to have looked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness
from watch_house import WatchHouse, make_rows

from brandhouse_aftercare import monitor_flow, telling
from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.monitor_flow import monitor_model
from brandhouse_aftercare.monitoring import MonitorReport, run_monitor
from brandhouse_aftercare.telling import tell_findings
from brandhouse_shared.ledger.records import EntryKind

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchHouse:
    house = WatchHouse(tmp_path / "house")
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    return house


def settle(house: WatchHouse, name: str, km: float) -> Any:
    """A brand with traffic up to now, moved by `km` standard deviations."""
    from datetime import UTC, datetime, timedelta

    brand = house.add_brand(name)
    training = make_rows(2_000, seed=1)
    version = house.register(brand, training, training["km"].to_numpy()[:500])
    live, now = make_rows(600, seed=2, km=km), datetime.now(UTC)
    house.answer(version, brand, live, live["km"].to_numpy(), now - timedelta(hours=12), now)
    return brand


def test_a_red_finding_is_a_completed_run_with_a_table_a_picture_an_event_and_entries(
    house: WatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(telling, "emit_check", lambda brand, model, check, **facts: sent.append((brand, model, check, facts["state"])))
    settle(house, "duin", km=2.0)
    settle(house, "hei", km=0.0)
    state = monitor_model("duin", "price", return_state=True)
    assert (state.name, state.is_completed()) == ("Red", True)
    assert "drift: km: 0." in str(state.message)
    artifact = Artifact.get("duin-price-monitor")
    assert artifact is not None
    shown = str(artifact.data)
    assert "| 🔴 | drift | 0." in shown and "![" in shown and "data:image/png;base64," in shown
    assert ("duin", "price", "drift", "red") in sent
    entries = house.ledger.newest_entries(EntryKind.CHECK)
    assert {entry.brand for entry in entries} == {"duin"}
    assert {entry.run_id for entry in entries} != {None}
    assert [entry.name for entry in house.ledger.entries(EntryKind.ALERT, "duin") if entry.name == "drift"], "somebody was told"
    monitor_model("hei", "price")
    assert Artifact.get("hei-price-monitor") is not None
    assert not [event for event in sent if event[0] == "hei" and event[2] == "drift"]


def test_an_event_that_cannot_be_sent_fails_no_monitor(house: WatchHouse, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def gone(*_: object, **__: object) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(telling, "emit_check", gone)
    settle(house, "duin", km=2.0)
    assert monitor_model("duin", "price", return_state=True).is_completed()
    assert {entry.name: entry.state for entry in house.ledger.newest_entries(EntryKind.CHECK)}["drift"] == "red"


def test_a_run_without_a_server_looks_and_tells_all_the_same(house: WatchHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    brand = settle(house, "duin", km=2.0)
    report = run_monitor(house.settings, house.ledger, brand, "price", datetime.now(UTC))
    assert tell_findings(house.ledger, brand, report)


def test_a_table_holds_no_broken_cells() -> None:
    from datetime import UTC, datetime

    from brandhouse_shared.names import ModelKey

    finding = Finding("drift", State.UNKNOWN, "a | b\nc", value=0.123456, rows=1_200)
    text = monitor_flow.as_markdown(MonitorReport(ModelKey("duin", "price"), None, datetime(2027, 1, 1, tzinfo=UTC), (finding,), {}))
    assert r"| ⚪ | drift | 0.1235 |  | 1,200 | a \| b c |" in text
