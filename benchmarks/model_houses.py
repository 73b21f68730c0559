"""A workspace with any number of brands and models, made fast: one pipeline is fitted and packaged, the others are copies.

Each copy is a version of its own, with its own manifest and digest, in its own brand's store; nothing that serves knows
that the graphs are equal.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_shared.api_keys import create_key
from brandhouse_shared.artifacts import MANIFEST_FILE, Manifest, Runtime, folder_digest
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

sys.path.insert(0, str(Path(__file__).parent / "serving_peers"))
from pipelines import CATEGORIES, NUMBERS, TARGET, build_pipeline, build_table

HEADER = """
name = "{name}"
title = "Brand {name}"
story = "Invented loans; predicts who pays back."
owner = "{name}@house.example"
risk = "low"
budget_eur_month = 10
{extra}

[datasets.loans]
file = "data/loans.csv"
source = {{ kind = "file", path = "loans.csv" }}
"""
MODEL = """
[models.{model}]
entrypoint = "brand_{name}.loan"
dataset = "loans"
task = "binary"
target = "repaid"
positive = "yes"
metric = "roc_auc"

[models.{model}.serving]
{serving}

[models.{model}.inputs]
{inputs}
"""
TRACED = "def build_features(rows):\n    return rows\n\n\ndef build_estimator(**params):\n    return None\n"
UNTRACED = TRACED.replace("    return rows\n", "    assert len(rows.to_dict('records'))\n    return rows\n")
"""Features that do not compile: the version is a python one."""


@dataclass(frozen=True)
class Packaged:
    """One fitted pipeline, packaged.

    Attributes:
        rows: Rows as a client has them.
    """

    folder: Path
    manifest: Manifest
    rows: list[dict[str, Any]]


class ModelHouse:
    """A workspace in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        (root / "brands").mkdir(parents=True)
        (root / "pyproject.toml").write_text("")
        (root / "requirements.lock").write_text("")
        self.ledger = open_ledger(f"sqlite:///{self.home / 'ledger.db'}")
        self._store = BentoArtifactStore(self.home)

    def write_brand(self, name: str, models: list[str], *, extra: str = "", serving: str = "", code: str = TRACED) -> None:
        """Declare a brand with models that all take the same fields."""
        inputs = [f'{field} = {{ type = "number", nullable = true }}' for field in NUMBERS]
        words = {field: json.dumps(values) for field, values in CATEGORIES.items()}
        inputs += [f'{field} = {{ type = "category", nullable = true, values = {values} }}' for field, values in words.items()]
        package = self.root / "brands" / name / "src" / f"brand_{name}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "loan.py").write_text(code)
        parts = [MODEL.format(name=name, model=model, inputs="\n".join(inputs), serving=serving) for model in models]
        (self.root / "brands" / name / "brand.toml").write_text(HEADER.format(name=name, extra=extra) + "".join(parts))

    def package(self, brand: str, model: str, kind: str) -> Packaged:
        """Fit and package one pipeline for a declared model."""
        from brandhouse_flows.packaging import package
        from brandhouse_shared.brands import load_brand_module, read_brand
        from brandhouse_shared.contracts import Contract
        from brandhouse_shared.features import build_model_input

        declared = read_brand(self.root / "brands" / brand)
        table = build_table()
        contract = Contract(declared.model(model).inputs)
        texts = table.drop(columns=TARGET).astype(object).map(lambda cell: str(cell) if cell == cell else None)
        rows = contract.parse_table(texts, "bench")
        code = load_brand_module(declared, f"brand_{brand}.loan")
        features = build_model_input(code, rows, "bench")
        folder = self.root / f"package-{brand}-{model}-{kind}"
        fitted = build_pipeline(kind).fit(features, table[TARGET])
        made = package(
            folder,
            brand=declared,
            model_name=model,
            estimator=fitted,
            rows_holdout=rows[:200],
            features_holdout=features[:200],
            classes=[str(one) for one in fitted.classes_],
            constant=[0.5, 0.5],
            code=code,
            truth=table[TARGET][:200],
        )
        return Packaged(folder, made.manifest, contract.instances_of(rows[:1000]))

    def add(self, packaged: Packaged, key: ModelKey) -> None:
        """Register a copy of what is packaged as the model's version and put it in production."""
        draft = Path(tempfile.mkdtemp(dir=self.root))
        for file in packaged.folder.iterdir():
            shutil.copyfile(file, draft / file.name)
        manifest = packaged.manifest.model_copy(update={"brand": key.brand, "model": key.model})
        (draft / MANIFEST_FILE).write_text(manifest.model_dump_json())
        digest = folder_digest(draft)
        target = self._store.path_of(key, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)
        version = self.ledger.register_version_document(_document(key, digest, manifest.runtime))
        self.ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor="bench", reason="measure"))

    def add_key(self, brand: str) -> str:
        """Make an API key."""
        plain, record = create_key(brand, ("predict", "read"), None, actor="bench")
        self.ledger.add_key(record)
        return plain

    @contextmanager
    def gateway(self, **settings: str) -> Iterator["Gateway"]:
        """Run a gateway on this workspace; `settings` without their prefix."""
        gateway = Gateway(self, settings)
        try:
            yield gateway
        finally:
            gateway.stop()


class Gateway:
    """A gateway process on a free port."""

    def __init__(self, house: ModelHouse, settings: dict[str, str]) -> None:
        places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home)}
        given = {f"BRANDHOUSE_{name.upper()}": value for name, value in settings.items()}
        environment = {**os.environ, **places, **given}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would measure the compiling of our own modules
        self._errors = house.root / "gateway-errors.txt"
        started = time.monotonic()
        with self._errors.open("w") as errors:
            command = [sys.executable, "-m", "brandhouse_serving.main", "--port", "0"]
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready_seconds = time.monotonic() - started
        if "http://" not in line:
            self.stop()
            raise SystemExit(f"the gateway did not start:\n{self._errors.read_text()[-3000:]}")
        self.port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])

    def resident_mib(self) -> float:
        """Memory of the process, in MiB, without what it shares with others (libraries)."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _document(key: ModelKey, digest: str, runtime: Runtime) -> dict[str, Any]:
    texts = ("target", "snapshot_hash", "snapshot_dataset", "git_commit", "lock_hash", "code_digest", "template_version")
    texts += ("estimator", "candidate_name", "owner", "run_id", "flow_run_url")
    return {
        **dict.fromkeys(texts, "x"),
        **dict.fromkeys(("score", "score_low", "score_high", "baseline_score", "trained_seconds"), 1.0),
        **dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1),
        "key": key,
        "kind": "candidate",
        "fingerprint": f"{key}-{digest}",
        "artifact_digest": digest,
        "runtime": runtime,
        "task": "binary",
        "metric": "roc_auc",
        "production_score": None,
        "gates": [{"name": "threshold", "passed": True, "detail": "-"}],
        "gates_passed": True,
        "git_dirty": False,
        "params": {},
        "slices": [],
        "feature_statistics": {field: {"mean": 1.0, "std": 1.0, "quantiles": [0.1] * 9, "missing": 0.0} for field in NUMBERS},
        "created_at": datetime.now(UTC),
    }
