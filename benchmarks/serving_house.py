"""The house that the serving benchmarks ask: one brand, `bank`, with the three pipelines of `serving_peers` trained and in production.

Everything goes through the real commands: the template trains, packages, gates and promotes, as for any brand.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey

sys.path.insert(0, str(Path(__file__).parent / "serving_peers"))
import pipelines

ROOT = Path(__file__).resolve().parents[1]
COMMAND = str(Path(sys.executable).with_name("brandhouse"))
BRAND = "bank"
HEADER = """
name = "bank"
title = "Bank"
story = "Invented loans; predicts who pays back."
owner = "bank-data@house.example"
risk = "low"
budget_eur_month = 10

[datasets.loans]
file = "data/loans.csv"
source = { kind = "file", path = "loans.csv" }
"""
MODEL = """
[models.{kind}]
entrypoint = "brand_bank.loans"
dataset = "loans"
task = "binary"
target = "repaid"
positive = "yes"
metric = "log_loss"
search = {{ trials = 1 }}
gates = {{ beat_baseline = false }} # what is measured is speed; the linear pipeline is a baseline itself
candidates.only = {{ params = {{ kind = "{kind}" }} }}

[models.{kind}.inputs]
{inputs}
"""
CODE = '''
"""The pipelines of the benchmark as a brand's code."""


def build_features(rows):
    return rows


'''


@dataclass(frozen=True)
class House:
    """A workspace with trained models.

    Attributes:
        key: An API key of the brand.
    """

    root: Path
    key: str

    @property
    def environment(self) -> dict[str, str]:
        """What commands in this workspace run with."""
        return {**os.environ, "BRANDHOUSE_ROOT": str(self.root), "BRANDHOUSE_HOME": str(self.root / ".brandhouse")}

    def artifact(self, kind: str) -> Path:
        """Folder of the version in production."""
        key = ModelKey(BRAND, kind)
        version = open_ledger(f"sqlite:///{self.root}/.brandhouse/ledger.db").production(key)
        if version is None:
            raise SystemExit(f"{key} has no version in production; `brandhouse history {key}` says why")
        return BentoArtifactStore(self.root / ".brandhouse").find(key, version.record.artifact_digest)


def build_house(root: Path) -> House:
    """Write the brand, train its three models, and make a key."""
    folder = root / "brands" / BRAND
    package = folder / "src" / "brand_bank"
    package.mkdir(parents=True)
    (folder / "data").mkdir()
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, root / name)
    (package / "__init__.py").write_text('"""Invented loans."""\n')
    (package / "loans.py").write_text(_code())
    (folder / "brand.toml").write_text(HEADER + "".join(MODEL.format(kind=kind, inputs=_inputs()) for kind in pipelines.ESTIMATORS))
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "brand-bank"\nversion = "0.1.0"\ndependencies = ["brandhouse-shared", "scikit-learn"]\n'
    )
    pipelines.build_table().to_csv(folder / "loans.csv", index=False)
    house = House(root, "")
    _run([COMMAND, "ingest", BRAND, "--accept-new"], house)
    _run([COMMAND, "train", BRAND], house)
    return House(root, json.loads(_run([COMMAND, "keys", "create", BRAND, "--json"], house))["key"])


def _inputs() -> str:
    lines = [f'{name} = {{ type = "number", nullable = true }}' for name in pipelines.NUMBERS]
    lines += [
        f'{name} = {{ type = "category", values = {json.dumps(values)}, nullable = true }}' for name, values in pipelines.CATEGORIES.items()
    ]
    return "\n".join(lines)


def _code() -> str:
    """The brand's module: the peers' own pipelines, without what reads and saves."""
    source = (Path(__file__).parent / "serving_peers" / "pipelines.py").read_text()
    body = source[source.index("import numpy") : source.index("def fit(")].replace("def build_pipeline", "def build_estimator")
    return CODE.lstrip() + body


def _run(command: list[str], house: House) -> str:
    done = subprocess.run(command, env=house.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout
