"""The import contracts hold in the repository, and each of them notices a planted violation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("shared", "platform/flows", "platform/serving", "platform/authoring", "platform/aftercare", "infra", "platform/console")

PLANTED = {
    "flows know serving": (
        "platform/flows/src/brandhouse_flows/locks.py",
        "import brandhouse_serving.model_store",
        "do not know each other",
    ),
    "serving knows flows": (
        "platform/serving/src/brandhouse_serving/prediction_ids.py",
        "import brandhouse_flows.locks",
        "do not know each other",
    ),
    "flows know aftercare": ("platform/flows/src/brandhouse_flows/locks.py", "import brandhouse_aftercare", "do not know each other"),
    "infra knows the platform": ("infra/src/brandhouse_infra/__init__.py", "import brandhouse_flows.locks", "do not know each other"),
    "shared knows the platform": ("shared/src/brandhouse_shared/names.py", "import brandhouse_flows.locks", "all stand on shared"),
    "a lower layer of shared knows a higher one": (
        "shared/src/brandhouse_shared/names.py",
        "import brandhouse_shared.artifacts",
        "Shared is layered",
    ),
    "a module of shared is in no layer": ("shared/src/brandhouse_shared/stray.py", "VALUE = 1", "Shared is layered"),
    "shared knows an engine": ("shared/src/brandhouse_shared/artifacts.py", "import prefect", "Shared knows no engine"),
    "shared learns outside of ready": (
        "shared/src/brandhouse_shared/artifacts.py",
        "import sklearn.linear_model",
        "Shared knows no engine",
    ),
    "shared uses a ready estimator": (
        "shared/src/brandhouse_shared/artifacts.py",
        "import brandhouse_shared.ready.prices",
        "Shared is layered",
    ),
    "serving uses a ready feature": (
        "platform/serving/src/brandhouse_serving/prediction_ids.py",
        "import brandhouse_shared.ready.times",
        "Only brand code and authoring import ready",
    ),
    "flows use a ready estimator": (
        "platform/flows/src/brandhouse_flows/locks.py",
        "import brandhouse_shared.ready.prices",
        "Only brand code and authoring import ready",
    ),
    "a second module names DVC": ("platform/flows/src/brandhouse_flows/locks.py", "import dvc.repo", "Only one module names DVC"),
    "a second module names Dask": ("platform/flows/src/brandhouse_flows/locks.py", "import distributed", "Only one module names Dask"),
    "flows know a web framework": ("platform/flows/src/brandhouse_flows/locks.py", "import fastapi", "Flows know no serving engine"),
    "serving knows the orchestrator": (
        "platform/serving/src/brandhouse_serving/prediction_ids.py",
        "import prefect",
        "Serving knows no orchestrator",
    ),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(root / member / "src") for member in MEMBERS), "COLUMNS": "200"}
    command = [str(Path(sys.executable).parent / "lint-imports"), "--config", str(root / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120)


def copy_sources(target: Path) -> Path:
    for member in MEMBERS:
        shutil.copytree(ROOT / member / "src", target / member / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def test_the_repository_keeps_its_import_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_violation_is_noticed(name: str, tmp_path: Path) -> None:
    file, line, contract = PLANTED[name]
    root = copy_sources(tmp_path)
    path = root / file
    path.write_text((path.read_text() if path.exists() else '"""Stray."""\n') + f"\n{line}\n")
    done = lint_imports(root)
    assert done.returncode != 0, f"{name}: nothing was noticed\n{done.stdout}"
    assert contract in done.stdout.split("Broken contracts")[-1] or contract in done.stdout + done.stderr
