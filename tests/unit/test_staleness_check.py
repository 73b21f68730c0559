"""Staleness: an old version is red, a back-test says what age costs, and its faults end in words."""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, STIL
from truth_house import NOW, TruthHouse, areas_of, casa_rows

from brandhouse_aftercare.checks import Finding, State
from brandhouse_aftercare.staleness import StalenessCheck
from brandhouse_aftercare.staleness_curve import NoTimeError, StalenessCurve, measure_staleness, record_curve
from brandhouse_aftercare.staleness_page import render_curve
from brandhouse_flows.data_project import DataProject
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.errors import BrandhouseError, EntrypointError
from brandhouse_shared.names import VersionKey

CODE = """
import numpy as np
from sklearn.linear_model import LinearRegression


def build_features(rows):
    return rows[["Area m2"]]


def build_estimator(**params):
    return LinearRegression(**params)
"""


def table_of(drift: float, rows: int = 600) -> pd.DataFrame:
    """Ten homes a day; what a square metre costs rises by `drift` a day."""
    rng = np.random.default_rng(0)
    day, area = np.arange(rows) // 10, rng.uniform(20, 200, rows)
    price = area * (2 + drift * day) + rng.normal(0, 3, rows)
    dates = (pd.Timestamp("2027-01-01") + pd.to_timedelta(day, "D")).strftime("%Y-%m-%d")
    return pd.DataFrame({"Area m2": area, "garden": "yes", "day": dates, "price": price})


@pytest.fixture
def dated(tmp_path: Path) -> Callable[[float], TruthHouse]:
    """A house whose `casa` has dated rows and its own code; no artifact is needed."""

    def make(drift: float) -> TruthHouse:
        house = TruthHouse(tmp_path)
        house.edit_brand("casa", 'metric = "rmse"\n\n[models.price.inputs]', 'metric = "mae"\n\n[models.price.inputs]')
        house.declare("casa", '[models.price.split]\nkind = "time"\nby = "day"\nformat = "%Y-%m-%d"\n')
        folder = house.root / "brands" / "casa"
        (folder / "src" / "brand_casa").mkdir(parents=True)
        (folder / "src" / "brand_casa" / "__init__.py").write_text("")
        (folder / "src" / "brand_casa" / "price.py").write_text(CODE)
        table_of(drift).to_csv(folder / "homes.csv", index=False)
        snapshot = DataProject(house.brand("casa"), house.settings).import_source("homes")
        rows = casa_rows(50)
        names = {"snapshot_dataset": "homes", "snapshot_hash": snapshot.hash_md5, "params": {"fit_intercept": False}}
        house.measure(house.register_casa(2.0, promote=False), areas_of(rows), areas_of(rows) + 1, "mae", created_at=NOW, **names)
        return house

    yield make
    unload_brand("casa")


def measure(house: TruthHouse) -> StalenessCurve:
    return measure_staleness(house.settings, house.ledger, house.brand("casa"), CASA)


def test_back_test_shows_what_age_costs_where_the_world_moves(dated: Callable[[float], TruthHouse]) -> None:
    house = dated(0.02)
    curve = measure(house)
    assert (curve.unit, curve.fits, len(curve.points)) == ("days", 6, 5)
    assert [round(point.age) for point in curve.points] == [6, 12, 18, 24, 30]
    losses = [point.loss for point in curve.points]
    assert losses == sorted(losses)
    # A square metre costs 0.02 a day more, homes have 110 on average: that is what is missed a day.
    assert losses[-1] == pytest.approx(30 * 0.02 * 110, rel=0.25)
    assert all(point.low > 0 for point in curve.points)
    record_curve(house.ledger, curve, NOW, "tester")
    found = StalenessCheck().look(house.watch(CASA, NOW + timedelta(days=25)))
    assert "in the back-test models 24 days older were" in found.detail
    page = render_curve(curve, "A <b>house</b>")
    assert "A &lt;b&gt;house&lt;/b&gt;" in page
    assert page.count("<tr>") == 6


def test_back_test_shows_no_cost_where_nothing_moves(dated: Callable[[float], TruthHouse]) -> None:
    curve = measure(dated(0.0))
    assert all(abs(point.loss_share) < 0.15 for point in curve.points)
    assert any(point.low <= 0 <= point.high for point in curve.points)


def test_missing_brand_code_ends_in_words(dated: Callable[[float], TruthHouse]) -> None:
    house = dated(0.0)
    (house.root / "brands" / "casa" / "src" / "brand_casa" / "price.py").unlink()
    with pytest.raises(EntrypointError, match=r"brand_casa\.price"):
        measure(house)


def test_data_without_a_time_have_no_curve(tmp_path: Path) -> None:
    house = TruthHouse(tmp_path)
    with pytest.raises(NoTimeError, match="casa/price: not applicable: the split is random"):
        measure(house)


def test_a_model_that_was_never_trained_has_no_curve(tmp_path: Path) -> None:
    house = TruthHouse(tmp_path)
    house.declare("casa", '[models.price.split]\nkind = "time"\nby = "day"\n')
    house.register_constant()
    with pytest.raises(BrandhouseError, match="casa/price has no trained version"):
        measure(house)


@pytest.fixture
def casa(tmp_path: Path) -> tuple[TruthHouse, VersionKey]:
    house = TruthHouse(tmp_path)
    rows = casa_rows(50)
    first = house.register_casa(2.0, promote=False)
    return house, house.measure(first, areas_of(rows), areas_of(rows) + 1, "mae", created_at=NOW - timedelta(days=80))


def look(house: TruthHouse, days_later: float) -> Finding:
    return StalenessCheck().look(house.watch(CASA, NOW + timedelta(days=days_later)))


def test_age_is_held_against_the_brands_limit(casa: tuple[TruthHouse, VersionKey]) -> None:
    house, version = casa
    assert look(house, 9).state is State.GREEN
    found = look(house, 11)
    assert (found.state, found.value, found.limit) == (State.RED, 91, 90)
    assert found.detail == f"{version} was trained 91 days ago; at most 90 days are allowed"
    house.declare("casa", "[models.price.monitoring]\nmax_age_days = 200")
    assert look(house, 11).state is State.GREEN
    assert StalenessCheck().look(house.watch(STIL, NOW)).state is State.NOT_APPLICABLE, "the other brand has nothing in production"


def test_a_clock_that_jumped_back_is_red(casa: tuple[TruthHouse, VersionKey]) -> None:
    found = look(casa[0], -100)
    assert found.state is State.RED
    assert "a clock is wrong" in found.detail


def test_a_brand_without_new_data_has_no_age_limit(casa: tuple[TruthHouse, VersionKey]) -> None:
    house, _ = casa
    house.edit_brand("casa", "[datasets.homes]", "[capabilities]\ngets_new_data = false\n\n[datasets.homes]")
    found = look(house, 500)
    assert found.state is State.NOT_APPLICABLE
    assert "a new training would learn the same" in found.detail
