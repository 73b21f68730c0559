"""An invented workspace with two brands, for every test that needs a whole one.

`casa` predicts the price of a home (regression), `villa` whether a holiday home is sold this season (binary). Targets
depend on products of fields, so that boosted trees beat the linear baseline on 400 rows in a tenth of a second.
"""

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything loads them: on tables this small, threads that wait for each other take most of the time.
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes take no part in a test's name: packed ones differ from second to second, and workers must agree on names."""
    return argname if isinstance(val, bytes) else None


ROWS = 400
COMMAND = Path(sys.executable).with_name("brandhouse")
HEADER = """
name = "{name}"
title = "{title}"
story = "An invented brand."
owner = "{name}-data@house.example"
risk = "low"
budget_eur_month = 20
"""
PROJECT = """
[project]
name = "brand-{name}"
version = "0.1.0"
dependencies = ["brandhouse-shared", "numpy", "pandas", "scikit-learn"]
"""
CASA_MODEL = """
[datasets.homes]
file = "data/homes.csv"
source = { kind = "file", path = "../../sources/homes.csv" }

[models.price]
entrypoint = "brand_casa.price"
dataset = "homes"
task = "regression"
target = "price"
metric = "mae"

[models.price.inputs]
area = { type = "number", min = 10, max = 400 }
rooms = { type = "integer", min = 1, max = 12 }
garden = { type = "boolean", nullable = true }
town = { type = "category", values = ["Delft", "Gouda", "Zwolle"] }
"""
VILLA_MODEL = """
[datasets.offers]
file = "data/offers.csv"
source = { kind = "file", path = "../../sources/offers.csv" }

[models.sold]
entrypoint = "brand_villa.sold"
dataset = "offers"
task = "binary"
target = "sold"
positive = "yes"
metric = "roc_auc"

[models.sold.inputs]
"Days on offer" = { type = "integer", min = 0, max = 365 }
pool = { type = "boolean" }
region = { type = "category", privacy = "personal" }
"""
CASA_CODE = '''"""What a home is worth."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def build_features(rows):
    return rows.assign(garden=rows["garden"].fillna(0), area_per_room=rows["area"] / rows["rooms"])


def build_estimator(n_estimators=60):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    town = ColumnTransformer([("town", encoder, ["town"])], remainder="passthrough")
    return make_pipeline(town, GradientBoostingRegressor(n_estimators=n_estimators, random_state=0))
'''
VILLA_CODE = '''"""Whether a holiday home is sold this season."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def build_features(rows):
    return rows


def build_estimator(n_estimators=40):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    region = ColumnTransformer([("region", encoder, ["region"])], remainder="passthrough")
    return make_pipeline(region, GradientBoostingClassifier(n_estimators=n_estimators, random_state=0))
'''
CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")


class Workspace:
    """A workspace in a temporary folder, its settings, ledger and store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.url = f"sqlite:///{self.home / 'ledger.db'}"
        self.settings = Settings(root=root, home=self.home, ledger_url=SecretStr(self.url), actor="tester")
        (root / "sources").mkdir(parents=True)
        (root / "pyproject.toml").write_text("")
        (root / "requirements.lock").write_text("scikit-learn==1.0\n")
        self.write_brand("casa", "Casa", CASA_MODEL, {"price": CASA_CODE})
        self.write_brand("villa", "Villa", VILLA_MODEL, {"sold": VILLA_CODE})
        self.write_table("casa", "homes", casa_table())
        self.write_table("villa", "offers", villa_table())

    # -- what a test writes --------------------------------------------------------------------------------------

    def write_brand(self, name: str, title: str, models: str, code: dict[str, str]) -> None:
        source = self.root / "brands" / name / "src" / f"brand_{name}"
        source.mkdir(parents=True)
        folder = self.root / "brands" / name
        (folder / "brand.toml").write_text(HEADER.format(name=name, title=title) + models)
        (folder / "pyproject.toml").write_text(PROJECT.format(name=name))
        (folder / "README.md").write_text(f"# {title}\n")
        (folder / "tests").mkdir()
        (folder / "tests" / f"test_{name}.py").write_text(f"def test_{name}() -> None:\n    assert True\n")
        (source / "__init__.py").write_text(f'"""{title}."""\n')
        for module, text in code.items():
            (source / f"{module}.py").write_text(text)

    def write_table(self, brand: str, dataset: str, table: pd.DataFrame, *, pointer: bool = True) -> None:
        """Write the source of a dataset and, like a commit would bring it, the pointer to these bytes."""
        source = self.root / "sources" / f"{dataset}.csv"
        table.to_csv(source, index=False)
        if pointer:
            content = source.read_bytes()
            data = self.root / "brands" / brand / "data"
            data.mkdir(exist_ok=True)
            md5 = hashlib.md5(content).hexdigest()
            (data / f"{dataset}.csv.dvc").write_text(f"outs:\n- md5: {md5}\n  size: {len(content)}\n  hash: md5\n  path: {dataset}.csv\n")

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new))

    def append(self, path: str, text: str) -> None:
        file = self.root / path
        file.write_text(file.read_text() + text)

    # -- what a test asks ----------------------------------------------------------------------------------------

    def brand(self, name: str) -> Brand:
        return find_brand(self.settings.brands_dir, name)

    @property
    def ledger(self) -> Any:
        return open_ledger(self.url)

    @property
    def store(self) -> Any:
        from brandhouse_shared.artifacts import load_artifact_store

        return load_artifact_store(self.settings)

    def train(self, key: ModelKey = CASA, **named: Any) -> Any:
        """Train in this process, as `brandhouse train` does."""
        from brandhouse_flows.learning import train
        from brandhouse_flows.planning import plan_training
        from brandhouse_flows.steps import call_step

        plan = plan_training(self.settings, key, str(uuid.uuid4()), "local")
        return train(plan, self.ledger, self.store, call_step, **named)

    @property
    def environment(self) -> dict[str, str]:
        names = {
            "BRANDHOUSE_ROOT": self.root,
            "BRANDHOUSE_HOME": self.home,
            "BRANDHOUSE_ACTOR": "tester",
            "BRANDHOUSE_LEDGER_URL": self.url,
        }
        return {**os.environ, **{name: str(value) for name, value in names.items()}}

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the real command."""
        command = [str(COMMAND), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env={**self.environment, **environment})


def casa_table(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """Homes; `agent` groups them, `listed` orders them."""
    generator = np.random.default_rng(seed)
    area, garden = generator.uniform(30, 250, rows).round(1), generator.random(rows) < 0.5
    town = generator.choice(["Delft", "Gouda", "Zwolle"], rows)
    price = area * np.where(garden, 4_000, 2_000) * np.where(town == "Delft", 1.5, 1.0) + generator.normal(0, 5_000, rows)
    return pd.DataFrame(
        {
            "area": area,
            "rooms": generator.integers(1, 9, rows),
            "garden": np.where(garden, "yes", "no"),
            "town": town,
            "price": price.round(0),
            "agent": generator.integers(0, 40, rows),
            "listed": (pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.permutation(rows), "D")).strftime("%Y-%m-%d"),
        }
    )


def villa_table(rows: int = ROWS, seed: int = 2) -> pd.DataFrame:
    """Holiday homes on offer."""
    generator = np.random.default_rng(seed)
    days, pool = generator.integers(0, 300, rows), generator.random(rows) < 0.5
    region = generator.choice(["coast", "lake", "hills"], rows)
    chance = np.where(pool == (days < 150), 0.9, 0.1)  # an exclusive or, which no line separates
    sold = np.where(generator.random(rows) < chance, "yes", "no")
    return pd.DataFrame({"Days on offer": days, "pool": np.where(pool, "true", "false"), "region": region, "sold": sold})


class Tables:
    """What the brands' tables are made by."""

    casa = staticmethod(casa_table)
    villa = staticmethod(villa_table)


@pytest.fixture(scope="session")
def make_tables() -> type[Tables]:
    """Return the makers of both brands' tables."""
    return Tables


@pytest.fixture(scope="session")
def make_workspace() -> Callable[[Path], Workspace]:
    """Return what writes a workspace with the brands `casa` and `villa` below a folder."""
    return lambda folder: Workspace(folder / "house")


@pytest.fixture
def workspace(tmp_path: Path, make_workspace: Callable[[Path], Workspace]) -> Workspace:
    """A workspace of this test alone."""
    return make_workspace(tmp_path)
