"""A version remembers the ready modules that its brand uses, only those, and answers with them for ever."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CODE as CODE_OF_MILLS
from model_house import columns, make_case
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from brandhouse_flows.planning import plan_training
from brandhouse_shared import ready_sources
from brandhouse_shared.answering import load_packaged_code, load_predictor
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.brands import code_digest, files_digest, load_brand_module, read_code, unload_brand
from brandhouse_shared.config import InputField
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey
from brandhouse_shared.ready_sources import READY, READY_DIR, imported_ready_modules, ready_files_of

CODE = "brands/casa/src/brand_casa/price.py"

IMPORTS = {
    "from brandhouse_shared.ready import prices, times": {"prices", "times"},
    "import brandhouse_shared.ready.prices": {"prices"},
    "import brandhouse_shared.ready.prices as p": {"prices"},
    "from brandhouse_shared.ready.times import add_calendar": {"times"},
    "def f():\n    from brandhouse_shared.ready import texts": {"texts"},
    "from brandhouse_shared.ready import *": {"*"},
    "from brandhouse_shared import ready": {"*"},
    "import brandhouse_shared.ready": {"*"},
    "# from brandhouse_shared.ready import prices": set(),
    "import brandhouse_shared.ready_sources": set(),
    "from brandhouse_shared.names import ready": set(),
    "from ready import prices  # not brandhouse_shared": set(),
    "from brandhouse_shared.ready import (": set(),
}


@pytest.fixture(autouse=True)
def _forget_brands() -> Iterator[None]:
    yield
    for name in ("casa", "molen"):
        unload_brand(name)


@pytest.fixture
def ready_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the ready modules that a test may change."""
    folder = tmp_path / "ready"
    shutil.copytree(READY_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(ready_sources.ready_files_of, "__defaults__", (folder,))
    return folder


def fingerprint(workspace: Any) -> str:
    return plan_training(workspace.settings, ModelKey("casa", "price"), "run", "local").fingerprint("0" * 32)


@pytest.mark.parametrize("source", IMPORTS)
def test_imports_are_found_in_every_form(source: str) -> None:
    assert imported_ready_modules(source.encode()) == IMPORTS[source]


def test_used_modules_bring_those_they_use() -> None:
    assert set(ready_files_of([b"from brandhouse_shared.ready import prices"])) == {
        f"@ready/{name}.py" for name in ("__init__", "amounts", "columns", "kinds", "prices")
    }
    assert set(ready_files_of([b"from brandhouse_shared.ready import times"])) == {"@ready/__init__.py", "@ready/times.py"}
    assert len(ready_files_of([b"import brandhouse_shared.ready"])) == len(list(READY_DIR.glob("*.py")))


def test_a_brand_without_ready_code_keeps_its_digest(workspace: Any, ready_dir: Path) -> None:
    brand = workspace.brand("casa")
    assert set(read_code(brand)) == {"__init__.py", "price.py"}
    before = fingerprint(workspace)
    for path in ready_dir.glob("*.py"):
        path.write_text(path.read_text() + "\nCHANGED = 1\n")
    assert fingerprint(workspace) == before
    assert code_digest(brand) == files_digest({path.name: path.read_bytes() for path in brand.source_dir.glob("*.py")})


def test_the_fingerprint_follows_the_used_ready_modules_only(workspace: Any, ready_dir: Path) -> None:
    workspace.append(CODE, "\nfrom brandhouse_shared.ready import prices\n")
    before = fingerprint(workspace)
    (ready_dir / "times.py").write_text((ready_dir / "times.py").read_text() + "\nCHANGED = 1\n")
    assert fingerprint(workspace) == before, "not used"
    (ready_dir / "columns.py").write_text((ready_dir / "columns.py").read_text() + "\nCHANGED = 1\n")
    assert fingerprint(workspace) != before, "used by prices"


def manifest_of(files: dict[str, str]) -> Manifest:
    return Manifest(
        brand="molen",
        model="price",
        task=Task.REGRESSION,
        target="price",
        runtime=Runtime.PYTHON,
        reason="test",
        inputs={"area": InputField(type="number")},
        constant=(5.0,),
        entrypoint="brand_molen.price",
        code_digest="0" * 64,
        code_files=files,
    )


FORMS = {
    "from the package": ("from brandhouse_shared.ready import odd", "odd.twice(rows)"),
    "from the module": ("from brandhouse_shared.ready.odd import twice", "twice(rows)"),
    "by its full name": ("import brandhouse_shared.ready.odd", "brandhouse_shared.ready.odd.twice(rows)"),
    "by another name": ("import brandhouse_shared.ready.odd as other", "other.twice(rows)"),
    "the whole package": ("from brandhouse_shared import ready\nimport brandhouse_shared.ready.odd", "ready.odd.twice(rows)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_packaged_code_uses_the_ready_modules_it_was_packaged_with(form: str) -> None:
    line, call = FORMS[form]
    versions = [
        load_packaged_code(manifest_of(packaged_files(f"{line}\n\n\ndef build_features(rows):\n    return {call}\n", by))) for by in (2, 5)
    ]
    assert [version.build_features(3) for version in versions] == [6, 15], "each version keeps its own"
    assert f"{READY}.odd" not in sys.modules, "nobody else sees them"


def test_packaged_code_imports_ready_modules_while_it_runs_too() -> None:
    code = "def build_features(rows):\n    from brandhouse_shared.ready import odd\n    from math import pi\n\n    return odd.twice(rows)\n"
    assert load_packaged_code(manifest_of(packaged_files(code, 4))).build_features(2) == 8


def packaged_files(code: str, factor: int) -> dict[str, str]:
    return {
        "__init__.py": "",
        "price.py": code,
        "@ready/__init__.py": '"""Ready."""',
        "@ready/odd.py": f"from brandhouse_shared.ready.parts import FACTOR\n\n\ndef twice(rows):\n    return rows * FACTOR * {factor}\n",
        "@ready/parts.py": "from brandhouse_shared.errors import BrandhouseError\n\nFACTOR = 1\n",
    }


def test_a_changed_ready_module_is_loaded_anew(workspace: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "ready"
    shutil.copytree(READY_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(ready_sources, "READY_DIR", folder)
    monkeypatch.setattr(ready_sources.ready_files_of, "__defaults__", (folder,))
    workspace.append(CODE, "\nfrom brandhouse_shared.ready import texts\nSEEN = texts\n")
    first = load_brand_module(workspace.brand("casa"), "brand_casa.price")
    assert load_brand_module(workspace.brand("casa"), "brand_casa.price") is first
    (folder / "texts.py").write_text((folder / "texts.py").read_text() + "\nCHANGED = 1\n")
    os.utime(folder / "texts.py")
    second: Any = load_brand_module(workspace.brand("casa"), "brand_casa.price")
    assert second is not first
    assert second.SEEN is not first.SEEN, "the process runs no stale ready code"
    assert importlib.import_module(f"{READY}.texts") is second.SEEN


def test_a_version_that_needs_python_carries_the_ready_modules_it_uses(tmp_path: Path, ready_dir: Path) -> None:
    code = CODE_OF_MILLS.replace('features["story"] = rows["story"].str.lower()', 'features["length"] = rows["story"].str.len()')
    code = code.replace("import pandas as pd\n", "import pandas as pd\n\nfrom brandhouse_shared.ready import numbers\n")
    code = code.replace('rows["km to sea "].clip(lower=0)', 'numbers.limit(rows["km to sea "], 0, 1e9)')
    case = make_case(tmp_path, code=code)
    packaged = case.package(tmp_path / "artifact", make_pipeline(columns(), LogisticRegression(max_iter=500)))
    assert packaged.manifest.runtime is Runtime.PYTHON, packaged.manifest.reason
    assert {"@ready/__init__.py", "@ready/numbers.py", "price.py"} <= set(packaged.manifest.code_files)
    assert packaged.manifest.code_digest == code_digest(case.brand)
    rows = packaged.manifest.contract.columns_of(case.rows)
    before = load_predictor(tmp_path / "artifact", packaged.manifest).predict(rows)
    (ready_dir / "numbers.py").write_text("def limit(column, low, high):\n    return column * 0\n")
    assert packaged.manifest.code_digest != code_digest(case.brand), "the change is noticed"
    assert (load_predictor(tmp_path / "artifact", packaged.manifest).predict(rows) == before).all(), "and changes no answer"
