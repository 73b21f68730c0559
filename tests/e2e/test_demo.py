"""The whole story with the real brands, twice: everything is trained and served once, and nothing the second time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from brandhouse_shared.brands import discover_brands
from brandhouse_shared.config import Risk

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("brandhouse"))

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1200)]


def run_demo(home: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BRANDHOUSE_"))}
    environment |= {"BRANDHOUSE_HOME": str(home), "BRANDHOUSE_ROOT": str(ROOT)}
    done = subprocess.run([COMMAND, "demo", "--json"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def processes_of(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        values = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if any(str(home) in value for value in values):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(home: Path) -> dict[str, Any]:
    return run_demo(home)


def declared_models() -> set[tuple[str, str]]:
    brands, errors = discover_brands(ROOT / "brands")
    assert not errors
    return {(key.brand, key.model) for brand in brands for key in brand.model_keys}


def test_every_declared_model_is_trained_promoted_and_answers(first: dict[str, Any]) -> None:
    assert not first["failed"]
    assert {(model["brand"], model["model"]) for model in first["models"]} == declared_models()
    assert {model["outcome"] for model in first["models"]} == {"registered"}
    assert all(model["prediction"] is not None and model["truth"] is not None for model in first["models"])


def test_nothing_keeps_running_afterwards(first: dict[str, Any], home: Path) -> None:
    assert processes_of(home) == []


def test_status_tells_the_same_as_the_summary(first: dict[str, Any], home: Path) -> None:
    environment = os.environ | {"BRANDHOUSE_HOME": str(home), "BRANDHOUSE_ROOT": str(ROOT)}
    listed = json.loads(subprocess.run([COMMAND, "status", "--json"], env=environment, capture_output=True, text=True, check=True).stdout)
    told = {(row["brand"], row["model"]): (row["version"], row["score"], row["runtime"]) for row in listed}
    assert told == {(row["brand"], row["model"]): (row["version"], row["score"], row["runtime"]) for row in first["models"]}
    assert {row["stage"] for row in listed} == {"production"}


def test_a_high_risk_brand_was_promoted_by_people_and_leaves_no_inputs_on_disk(first: dict[str, Any], home: Path) -> None:
    brands, _ = discover_brands(ROOT / "brands")
    sensitive = [brand for brand in brands if brand.config.risk is Risk.HIGH and not brand.config.capabilities.may_store_predictions]
    assert sensitive
    for brand in sensitive:
        files = [path for path in (home / "predictions" / brand.name).rglob("*") if path.is_file()]
        answers = [pd.read_parquet(path) for path in files if path.suffix == ".parquet"]
        written = b"".join(path.read_bytes() for path in files if path.suffix != ".parquet")
        assert f"{brand.name}.".encode() in written or any(len(one) for one in answers)
        assert all(one["inputs"].isna().all() and one["prediction"].isna().all() for one in answers)
        fields = {name for model in brand.config.models.values() for name in model.inputs}
        assert not [name for name in fields if f'"{name}"'.encode() in written]


@pytest.mark.slow  # that unchanged models are not trained again is tried without servers, too
def test_a_second_demo_finds_nothing_to_retrain(first: dict[str, Any], home: Path) -> None:
    second = run_demo(home)
    assert {model["outcome"] for model in second["models"]} == {"unchanged"}
    assert {model["version"] for model in second["models"]} == {"v1"}
    assert processes_of(home) == []
