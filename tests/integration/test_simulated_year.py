"""Two months of the simulated year, with all parts real: faults are found, mended or told, and quiet weeks are quiet."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from year_judgement import count_false_alarms, find_faults, measure_quality
from year_record import Lived
from year_run import live
from year_world import DRIFTED, Fault, World

from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import EntryKind

DUIN = (Fault("sudden drift", 17, 18, DRIFTED, lasts=True),)
HEI = (Fault("silence", 12, 15, ("volume",)), Fault("broken unit", 24, 40, ("data_quality", "drift")))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("year")


@pytest.fixture(scope="module")
def years(root: Path) -> Iterator[tuple[Lived, Lived]]:
    """`duin` for sixty days, then `hei` for forty, in one home and ledger."""
    logging.disable(logging.WARNING)
    yield (
        live(root, World("duin", True, 250, DUIN), risk="low", days=60),
        live(root, World("hei", False, 250, HEI), risk="medium", days=40),
    )
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_every_fault_is_found_by_its_own_check_within_days(years: tuple[Lived, Lived]) -> None:
    for lived in years:
        for found in find_faults(lived):
            assert found.check in found.fault.signs, f"{lived.world.name}: {found.fault.kind}"
            assert found.hours < 24 * 5


@pytest.mark.slow
def test_before_the_first_fault_no_check_is_red_and_nobody_is_told_anything(years: tuple[Lived, Lived]) -> None:
    for lived in years:
        alarms = count_false_alarms(lived)
        assert (alarms.red, alarms.messages) == ((), ())
        assert alarms.months > 0.3


@pytest.mark.slow
def test_what_drifted_is_trained_again_and_as_good_as_the_oracle(years: tuple[Lived, Lived]) -> None:
    duin = years[0]
    replaced = [actor for at, number, actor in duin.entered if number > 1 and duin.world.day_of(at) > DUIN[0].begin]
    assert "trial progress" in replaced, duin.done
    last = Lived(duin.world, days=duin.days[-14:])
    kept = measure_quality(last)
    assert kept.ratio > 0.95 and kept.never < 0.8 * kept.oracle, kept


@pytest.mark.slow
def test_a_broken_unit_is_told_and_repaired_by_people(years: tuple[Lived, Lived]) -> None:
    _, broken = find_faults(years[1])
    assert broken.actions["message"] and broken.actions["person: had the column repaired"] == 1
    assert years[1].world.repaired["broken unit"] < broken.fault.begin + 5


@pytest.mark.slow
def test_the_ledger_has_each_brands_year_apart(years: tuple[Lived, Lived], root: Path) -> None:
    with open_ledger(f"sqlite:///{root / 'home' / 'ledger.db'}") as ledger:
        for lived, other in (years, years[::-1]):
            checks = ledger.entries(EntryKind.CHECK, lived.world.name, limit=1_000_000)
            assert len({entry.at for entry in checks}) == len(lived.looks)
            assert not any(f"{other.world.name}/walk" in entry.detail for entry in checks)
