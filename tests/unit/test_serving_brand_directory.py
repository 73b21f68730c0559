"""What the gateway knows of brands: as last read on the event loop, looked at again in a thread."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from plain_brands import write_toml

from brandhouse_serving.brand_directory import BrandDirectory


@pytest.fixture
def directory(tmp_path: Path) -> BrandDirectory:
    for name in ("casa", "stil"):
        write(tmp_path, name, 1)
    return BrandDirectory(tmp_path)


def write(brands: Path, name: str, budget: float) -> None:
    file = write_toml(brands, name, budget=budget)
    os.utime(file, (1_000_000 + budget, 1_000_000 + budget))


def budget_of(directory: BrandDirectory, name: str) -> float | None:
    brand = directory.known(name)
    return None if brand is None else brand.config.budget_eur_month


def test_a_brand_stays_as_it_was_read_until_it_is_looked_at_again(directory: BrandDirectory, tmp_path: Path) -> None:
    assert (budget_of(directory, "casa"), budget_of(directory, "stil")) == (1, 1)
    stil = directory.known("stil")
    write(tmp_path, "casa", 2)
    assert budget_of(directory, "casa") == 1, "no look at the disk"
    assert directory.reread(["casa", "stil"]) and budget_of(directory, "casa") == 2
    assert directory.known("stil") is stil, "what has not changed is the same object"
    assert not directory.reread(["casa", "stil"])


def test_a_brand_that_is_gone_is_unknown_and_one_that_was_broken_stays_as_it_was(directory: BrandDirectory, tmp_path: Path) -> None:
    assert directory.known("casa") is not None and directory.known("stil") is not None
    (tmp_path / "casa" / "brand.toml").unlink()
    (tmp_path / "stil" / "brand.toml").write_text("broken = ")
    assert directory.reread(["casa", "stil"])
    assert directory.known("casa") is None and budget_of(directory, "stil") == 1
    write(tmp_path, "casa", 3)
    assert budget_of(directory, "casa") == 3
