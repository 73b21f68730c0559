"""What brands use, what it costs, and what nobody uses. Two brands; what their gateways counted is written as a gateway writes it."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL, House

from brandhouse_aftercare.cost_measuring import measure
from brandhouse_aftercare.cost_report import budget_signals, month_cost
from brandhouse_aftercare.disk_use import disk_use
from brandhouse_aftercare.forgotten import Forgotten, find_forgotten
from brandhouse_flows.prices import Prices, Usage, read_prices, say_cost
from brandhouse_flows.run_usage import Meter, metered
from brandhouse_serving.request_totals import Totals, add_totals, read_cpu_seconds, read_totals
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.ledger.records import Entry, EntryKind, SnapshotRecord
from brandhouse_shared.names import ModelKey

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PRICES = Prices(date(2026, 1, 1), "round numbers", core_hour=3_600.0, gib_hour=10.0, gb_month=730.0)
"""A euro for a CPU second and for a GB hour."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def brands_of(house: House) -> list[Brand]:
    return [find_brand(house.settings.brands_dir, name) for name in ("casa", "stil")]


def measured(house: House, now: datetime) -> dict[tuple[str, str, str], Entry]:
    return {(one.brand, one.model, one.name): one for one in measure(house.settings, house.ledger, brands_of(house), now, actor="tester")}


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def cost_entry(brand: str, model: str, name: str, at: datetime, **facts: float) -> Entry:
    return Entry(
        kind=EntryKind.COST, brand=brand, model=model, name=name, state="measured", detail="planted", facts=facts, actor="tester", at=at
    )


def test_prices_follow_from_the_machine_and_name_date_and_source(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        'date = 2026-02-01\nsource = "a test"\n[machine]\nprice_eur = 87600\nyears = 10\ncores = 10\nmemory_gib = 100\nwatts = 1000\n'
        "power_overhead = 2\neur_per_kwh = 0.5\nused_share = 0.5\ncores_share = 0.25\n[storage]\ngb_month_eur = 0.1\n"
    )
    prices = read_prices(file)
    # One euro an hour of worth lost and one of power; a quarter of two euro to ten cores that work half of the time.
    assert prices.core_hour == pytest.approx(2 * 0.25 / 10 / 0.5)
    assert prices.gib_hour == pytest.approx(2 * 0.75 / 100 / 0.5)
    assert (prices.gb_month, prices.date, prices.source) == (0.1, date(2026, 2, 1), "a test")
    assert prices.of(Usage(3_600, 1, 730, 5)) == pytest.approx(prices.core_hour + prices.gib_hour + prices.gb_month)


def test_released_prices_are_dated_and_say_where_they_are_from() -> None:
    prices = read_prices()
    assert prices.date >= date(2026, 1, 1) and "example" in prices.source
    assert str(prices.date) in say_cost(Usage(cpu_seconds=12))
    assert say_cost(None) == "not measured"


def test_meter_counts_this_process_and_those_that_it_started() -> None:
    meter = Meter()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    own = meter.read().cpu_seconds
    subprocess.run([sys.executable, "-S", "-c", "x = sum(range(5_000_000))"], check=True)
    assert own >= 0.1
    assert meter.read().cpu_seconds > own + 0.02
    assert meter.read().memory_gib_hours > 0


def test_run_is_on_record_also_if_it_fails(house: House) -> None:
    with pytest.raises(ValueError, match="broken"), metered(house.ledger, CASA, "train", "run-1", "tester"):
        raise ValueError("broken")
    (entry,) = house.ledger.entries(EntryKind.COST)
    assert (entry.brand, entry.model, entry.name, entry.run_id) == ("casa", "price", "train", "run-1")
    assert set(entry.facts) == {"cpu_seconds", "memory_gib_hours", "seconds", "peak_mib"}


def test_gateways_that_ended_are_added_up_and_old_lines_stay_readable(house: House) -> None:
    folder = house.home / "gateways"
    folder.mkdir(parents=True)
    (folder / "ended.jsonl").write_text('{"at":1,"models":{"casa/price":[5,1]}}\n{"at":2,"models":{"casa/pri')
    (folder / "ended.jsonl").write_text('{"at":1,"models":{"casa/price":[5,1]}}\n')
    add_totals(house.home, {CASA: Totals(10, 0, 100, 2.5)}, cpu_seconds=7.0)
    assert read_totals(house.home, []) == {CASA: Totals(15, 1, 100, 2.5)}
    assert read_cpu_seconds(house.home, []) == 7.0


def test_gateways_cpu_is_put_down_to_models_by_the_time_of_their_answers(house: House) -> None:
    measured(house, NOW)
    add_totals(house.home, {CASA: Totals(10, 0, 300, 6.0), STIL: Totals(1, 0, 1, 2.0)}, cpu_seconds=16.0)
    found = measured(house, NOW + DAY)
    casa, stil = (found[key.brand, key.model, "serving"].facts for key in (CASA, STIL))
    assert (casa["cpu_seconds"], casa["requests"], casa["rows"]) == (pytest.approx(12.0), 10, 300)
    assert stil["cpu_seconds"] == pytest.approx(4.0)
    again = measured(house, NOW + 2 * DAY)
    assert again["casa", "price", "serving"].facts["cpu_seconds"] == 0.0, "what was measured is not counted twice"


@pytest.mark.slow  # packs a forest
def test_model_in_a_process_of_its_own_pays_for_that_too(house: House) -> None:
    house.register_stil()
    measured(house, NOW)
    add_totals(house.home, {STIL: Totals(1, 0, 1, 2.0)}, cpu_seconds=3.0)
    assert measured(house, NOW + DAY)["stil", "taste", "serving"].facts["cpu_seconds"] == pytest.approx(3.0 + 2.0)


def test_files_are_counted_by_brand_model_and_place_and_only_ones_own(house: House) -> None:
    fill(house.home / "predictions" / "casa" / "price" / "2026" / "a.parquet", 1_000)
    fill(house.home / "cache" / "dvc" / "casa" / "files" / "b", 500)
    fill(house.home / "remotes" / "casa" / "files" / "b", 400)
    fill(house.home / "predictions" / "stil" / "taste" / "c", 9_999)
    (house.home / "predictions" / "casa" / "price" / "link").symlink_to(house.home / "predictions" / "stil")
    (house.home / "predictions" / "casa" / "price" / "same").hardlink_to(
        house.home / "predictions" / "casa" / "price" / "2026" / "a.parquet"
    )
    casa, _ = brands_of(house)
    assert disk_use(house.settings, casa) == {"price": {"predictions": 1_000}, "unborn": {}, "": {"cache/dvc": 500, "remote": 400}}


def test_storage_is_bytes_times_the_hours_that_they_lay_there(house: House) -> None:
    file = house.home / "snapshots" / "casa" / "x"
    fill(file, 1_000_000)
    assert measured(house, NOW)["casa", "", "storage"].facts["storage_gb_hours"] == 0.0, "nobody knows since when"
    fill(file, 3_000_000)
    entry = measured(house, NOW + DAY)["casa", "", "storage"]
    assert entry.facts["storage_gb_hours"] == pytest.approx(24 * 0.002), "half-way between the two sizes"


def test_month_is_added_up_by_model_and_priced(house: House) -> None:
    february = NOW.replace(month=2)
    for entry in (
        cost_entry("casa", "price", "train", NOW, cpu_seconds=3, memory_gib_hours=0.1),
        cost_entry("casa", "price", "serving", NOW, cpu_seconds=2, rows=50),
        cost_entry("casa", "", "storage", NOW, storage_gb_hours=4),
        cost_entry("casa", "price", "train", february, cpu_seconds=1_000),
        cost_entry("stil", "taste", "train", NOW, cpu_seconds=7_000),
    ):
        house.ledger.record_entry(entry)
    casa, _ = brands_of(house)
    cost = month_cost(house.ledger, casa, "2026-03", PRICES)
    assert {row.model: (row.eur, row.usage.rows) for row in cost.rows} == {
        "": (pytest.approx(4), 0),
        "price": (pytest.approx(3 + 1 + 2), 50),
        "unborn": (0, 0),
    }
    assert (cost.eur, cost.budget_eur, cost.budget_share) == (pytest.approx(10), 20, pytest.approx(0.5))
    assert month_cost(house.ledger, casa, "2026-02", PRICES).eur == pytest.approx(1_000)


@pytest.mark.parametrize(("used", "expected"), [(15.9, ["green", "green"]), (16.0, ["red", "green"]), (20.0, ["red", "red"])])
def test_brand_is_told_at_80_and_100_percent_of_its_budget(house: House, used: float, expected: list[str]) -> None:
    house.ledger.record_entry(cost_entry("casa", "price", "train", NOW, cpu_seconds=used))
    casa, stil = brands_of(house)
    signals = budget_signals(house.ledger, casa, NOW, PRICES)
    assert [(signal.check, signal.state) for signal in signals] == list(zip(("budget.80", "budget.100"), expected, strict=True))
    assert {signal.state for signal in budget_signals(house.ledger, stil, NOW, PRICES)} == {"green"}
    assert {signal.state for signal in budget_signals(house.ledger, casa, NOW + 20 * DAY, PRICES)} == {"green"}, "a new month"


def find(house: House, now: datetime) -> list[Forgotten]:
    return find_forgotten(house.settings, house.ledger, brands_of(house), now)


def serve_for(house: House, days: int, requests_on: int | None = None) -> datetime:
    """Measure every tenth day from now on, and on the last; return that."""
    began = datetime.now(UTC)
    for day in (*range(0, days, 10), days):
        if requests_on is not None and requests_on <= day:
            add_totals(house.home, {CASA: Totals(1, 0, 1, 0.1)})
            requests_on = None
        measured(house, began + day * DAY)
    return began + days * DAY + timedelta(minutes=1)


def test_model_that_nobody_asks_is_listed_if_that_was_measured(house: House) -> None:
    house.register_casa(2.0)
    key = house.add_key("casa")
    now = serve_for(house, 31)
    found = {(one.kind, one.name) for one in find(house, now)}
    assert ("idle model", "casa/price/v1") in found
    assert ("unused key", key.split("_")[1]) in found
    assert not find(house, now - 30 * DAY), "after a day nobody knows"


@pytest.mark.parametrize("asked_on", [0, 15, 31])
def test_model_that_was_asked_is_not_idle(house: House, asked_on: int) -> None:
    house.register_casa(2.0)
    house.add_key("casa")
    now = serve_for(house, 31, requests_on=asked_on)
    kinds = {one.kind for one in find(house, now)}
    assert "unused key" not in kinds
    assert ("idle model" in kinds) == (asked_on == 0), "a request before the thirty days does not count"


def test_artifacts_of_retired_versions_are_listed_but_for_the_way_back(house: House) -> None:
    for slope in (1.0, 2.0, 3.0):
        house.register_casa(slope)
    (first, second) = house.ledger.versions(CASA)[2], house.ledger.versions(CASA)[1]
    (listed,) = [one for one in find(house, datetime.now(UTC) + 31 * DAY) if one.kind == "retired artifact"]
    assert listed.name == str(first.key), f"{second.key} is what a rollback brings back"
    assert listed.size_bytes is not None and listed.size_bytes > 100
    assert [one for one in find(house, datetime.now(UTC)) if one.kind == "retired artifact"] == [], "retired today"


def test_snapshots_that_no_version_learned_from_are_listed(house: House) -> None:
    hashes = {name: name * 32 for name in ("a", "b", "c")}
    for name, hash_md5 in hashes.items():
        snapshot = SnapshotRecord(
            brand="casa", dataset="homes", file="data/homes.csv", hash_md5=hash_md5, size_bytes=9, rows=1, source="x", recorded_at=NOW
        )
        house.ledger.record_snapshot(snapshot)
        fill(house.home / "cache" / "dvc" / "casa" / "files" / "md5" / (name * 2) / (name * 30), 10)
    found = {one.name for one in find(house, NOW + 31 * DAY) if one.kind == "unused snapshot"}
    assert found == {f"homes {hashes['a']}", f"homes {hashes['b']}"}, "the newest is what the next training takes"


def test_what_no_brand_declares_has_no_owner(house: House) -> None:
    house.register_constant(ModelKey("casa", "lost"))
    fill(house.home / "predictions" / "gone" / "price" / "a", 77)
    found = [(one.brand, one.name, one.size_bytes) for one in find(house, NOW) if one.kind == "no owner"]
    assert found == [("casa", "casa/lost/v1", None), ("gone", "predictions/gone", 77)]
