"""The flows `alerts` and `cost` under Prefect, and what a real gateway leaves behind for the latter."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from alert_receivers import HookReceiver, hook_receiver
from serving_house import CASA, CASA_ROW, Gateway, House, wait_until

from brandhouse_aftercare.alert_flow import send_alerts
from brandhouse_aftercare.cost_flow import measure_cost
from brandhouse_serving.request_totals import read_cpu_seconds, read_totals
from brandhouse_serving.worker_place import running_gateways
from brandhouse_shared.ledger.records import Entry, EntryKind

pytestmark = [pytest.mark.alone, pytest.mark.slow]
ROUTE = '\n[alerts]\nroute = "team"\n[alerts.routes.team]\nkind = "slack"\nurl_env = "BRANDHOUSE_SECRET_CASA_TEAM"\n'


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path / "house")
    house.register_casa(2.0)
    for name, value in {"ROOT": house.root, "HOME": house.home, "LEDGER_URL": house.url}.items():
        monkeypatch.setenv(f"BRANDHOUSE_{name}", str(value))
    return house


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    with hook_receiver() as receiver:
        yield receiver


def spend(house: House, brand: str, cpu_seconds: float) -> None:
    facts = {"cpu_seconds": cpu_seconds, "memory_gib_hours": 0.0}
    entry = Entry(
        kind=EntryKind.COST, brand=brand, name="train", state="measured", detail="planted", facts=facts, actor="t", at=datetime.now(UTC)
    )
    house.ledger.record_entry(entry)


def test_brand_is_told_of_its_budget_by_its_own_flow_and_once(house: House, hook: HookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    path = house.root / "brands" / "casa" / "brand.toml"
    path.write_text(path.read_text() + ROUTE)
    spend(house, "casa", 1e9)
    assert send_alerts("casa", return_state=True).name == "NotDelivered", "the variable is not set"
    monkeypatch.setenv("BRANDHOUSE_SECRET_CASA_TEAM", hook.url)
    assert send_alerts("casa", return_state=True).name == "Sent"
    assert [post["text"] for post in hook.posts] == ["[casa] 2 checks are red"]
    assert send_alerts("casa", return_state=True).name == "NothingToSend"


def test_use_of_a_real_gateway_is_put_down_to_its_brands_also_after_its_end(house: House) -> None:
    key = house.add_key("casa")
    assert measure_cost(return_state=True).name == "Measured"
    with Gateway(house) as gateway:
        for _ in range(20):
            assert gateway.predict(key, CASA, CASA_ROW, CASA_ROW)[0] == 200
        wait_until(lambda: read_cpu_seconds(house.home, running_gateways(house.home)) > 0.1)
        running = read_totals(house.home, running_gateways(house.home))[CASA]
        assert (running.answered, running.rows) == (20, 40) and running.seconds > 0
    assert read_totals(house.home, [])[CASA] == running, "a gateway that ends leaves its numbers to the home"
    assert read_cpu_seconds(house.home, []) > 0.1

    spend(house, "stil", 1e9)
    assert measure_cost(return_state=True).name == "Measured"
    serving = {
        entry.brand: entry
        for entry in house.ledger.newest_entries(EntryKind.COST)
        if entry.name == "serving" and entry.model in ("price", "taste")
    }
    assert (serving["casa"].facts["requests"], serving["casa"].facts["rows"]) == (20, 40)
    assert serving["casa"].facts["cpu_seconds"] == pytest.approx(read_cpu_seconds(house.home, [])), "nobody else was asked"
    assert serving["stil"].facts["cpu_seconds"] == 0
    told = {(entry.brand, entry.name, entry.state) for entry in house.ledger.newest_entries(EntryKind.ALERT)}
    assert told == {("stil", "budget.80", "sent"), ("stil", "budget.100", "sent")}, "to the log, as it has no route"
