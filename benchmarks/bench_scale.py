"""What the workspace costs with 1,000 brands: discovery, `check` of all, `status` of 1,000 models, `affected`, and `--help`.

Brands are generated in a temporary folder, each with code of its own; the commands are the real ones, each in a fresh
process, so that a figure includes the start. Prints one line a figure, or JSON with `--json`.

    .venv/bin/python benchmarks/bench_scale.py --brands 1000
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LIMITS = {"discovery": 2.0, "check of all": 20.0, "status": 1.0, "--help": 0.3, "affected": 1.0}
"""Seconds that the platform promises for 1,000 brands on two cores; --help whatever their number."""

REPEATS = 3
TOML = """
name = "{name}"
title = "Brand {number}"
story = "Generated for a benchmark."
owner = "{name}@house.example"
risk = "low"
budget_eur_month = 10

[datasets.homes]
file = "data/homes.csv"
source = {{ kind = "file", path = "homes.csv" }}

[models.price]
entrypoint = "brand_{name}.price"
dataset = "homes"
task = "regression"
target = "price"
metric = "mae"

[models.price.schedule]
cron = "{minute} 4 * * 1"

[models.price.candidates.forest]
params = {{ n_estimators = 20 }}
space.max_depth = {{ low = 2, high = 8, integer = true }}

[models.price.inputs]
area = {{ type = "number", min = 10, max = 400 }}
rooms = {{ type = "integer", min = 1, max = 12, nullable = true }}
garden = {{ type = "boolean" }}
town = {{ type = "category", values = ["Delft", "Gouda", "Zwolle"] }}
"""
CODE = '''"""Brand {number}."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def build_features(rows):
    return rows.assign(area_per_room=rows["area"] / rows["rooms"].fillna({number}))


def build_estimator(**params):
    return make_pipeline(ColumnTransformer([("town", OneHotEncoder(), ["town"])], remainder="passthrough"), RandomForestRegressor(**params))
'''
PROJECT = '[project]\nname = "brand-{name}"\nversion = "0.1.0"\ndependencies = ["brandhouse-shared", "scikit-learn"]\n'
POINTER = "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 1\n  hash: md5\n  path: homes.csv\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brands", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brandhouse-scale-") as folder:
        root = Path(folder)
        write_workspace(root, arguments.brands)
        figures = measure(root, arguments.brands)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for what, figure in figures.items():
        print(f"{what:14s} {figure['seconds']:7.3f} s   at most {figure['limit']:g} s   {'ok' if figure['ok'] else 'TOO SLOW'}")


def write_workspace(root: Path, brands: int) -> None:
    """Write brands that `check` finds no fault with."""
    (root / "pyproject.toml").write_text("")
    (root / "requirements.lock").write_text("")
    for number in range(brands):
        name = f"brand_{number:04d}"
        folder = root / "brands" / name
        source = folder / "src" / f"brand_{name}"
        source.mkdir(parents=True)
        (folder / "data").mkdir()
        (folder / "brand.toml").write_text(TOML.format(name=name, number=number, minute=number % 60))
        (folder / "pyproject.toml").write_text(PROJECT.format(name=name.replace("_", "-")))
        (folder / "README.md").write_text(f"# Brand {number}\n")
        (folder / "tests").mkdir()
        (folder / "tests" / "test_price.py").write_text('"""None yet."""\n')
        (folder / "data" / "homes.csv.dvc").write_text(POINTER)
        (source / "__init__.py").write_text(f'"""Brand {number}."""\n')
        (source / "price.py").write_text(CODE.format(number=number))


def measure(root: Path, brands: int) -> dict[str, Any]:
    environment = {**os.environ, "BRANDHOUSE_ROOT": str(root), "BRANDHOUSE_HOME": str(root / "home")}
    command = str(Path(sys.executable).with_name("brandhouse"))
    discovery = (
        "from pathlib import Path; import sys; from brandhouse_shared.brands import discover_brands;"
        "print(len(discover_brands(Path(sys.argv[1]))[0]))"
    )
    seconds = {
        "discovery": _timed([sys.executable, "-c", discovery, str(root / "brands")], environment, str(brands)),
        "check of all": _timed([command, "check"], environment, f"{brands} brand(s) checked, 0 problem(s)", repeats=1),
    }
    fill_ledger(root / "home" / "ledger.db", brands)
    seconds["status"] = _timed([command, "status", "--json"], environment, '"version": "v1"')
    seconds["--help"] = _timed([command, "--help"], environment, "Usage: brandhouse")
    seconds["affected"] = time_affected(root, command, environment, brands)
    return {what: {"seconds": round(value, 3), "limit": LIMITS[what], "ok": value < LIMITS[what]} for what, value in seconds.items()}


def time_affected(root: Path, command: str, environment: dict[str, str], brands: int) -> float:
    """A change of one brand and of a shared module that every second brand imports; the first call reads all their imports."""
    ready = root / "shared" / "src" / "brandhouse_shared" / "ready" / "prices.py"
    ready.parent.mkdir(parents=True)
    ready.write_text('"""Prices."""\n')
    importing = sorted(root.glob("brands/*/src/*/price.py"))[::2]
    for path in importing:
        path.write_text(f"{path.read_text()}\n\nfrom brandhouse_shared.ready import prices  # noqa: E402, F401\n")
    (root / ".gitignore").write_text("/home/\n__pycache__/\n")
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@house.example")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-q", "-m", "begin")):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    for path in (ready, sorted(root.glob("brands/*/src/*/price.py"))[-1]):
        path.write_text(path.read_text() + "# changed\n")
    touched = len(importing) + (brands % 2 == 0)
    return _timed([command, "affected", "--base", "main"], environment, f"{touched} brand(s) touched by 2 changed file(s)")


def _timed(command: list[str], environment: dict[str, str], expected: str, repeats: int = REPEATS) -> float:
    """Median wall-clock seconds of a command, whose output must hold `expected`."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        taken.append(time.perf_counter() - started)
        if done.returncode or expected not in done.stdout:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return statistics.median(taken)


def fill_ledger(path: Path, brands: int) -> None:
    """Register and promote one version a brand."""
    from brandhouse_shared.ledger import open_ledger
    from brandhouse_shared.ledger.records import StageChange
    from brandhouse_shared.ledger.stages import Stage
    from brandhouse_shared.names import ModelKey

    with open_ledger(f"sqlite:///{path}") as ledger:
        for number in range(brands):
            version = ledger.register_version_document(_record(ModelKey(f"brand_{number:04d}", "price")))
            ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor="bench", reason="measure"))


def _record(key: Any) -> dict[str, Any]:
    texts = ("fingerprint", "artifact_digest", "target", "snapshot_hash", "snapshot_dataset", "git_commit", "lock_hash", "code_digest")
    more = ("template_version", "estimator", "candidate_name", "owner", "run_id", "flow_run_url")
    return {
        **dict.fromkeys((*texts, *more), "x"),
        **dict.fromkeys(("score", "score_low", "score_high", "baseline_score", "trained_seconds"), 1.0),
        **dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1),
        "key": key,
        "kind": "candidate",
        "runtime": "compiled",
        "task": "regression",
        "metric": "mae",
        "production_score": None,
        "gates": [{"name": "threshold", "passed": True, "detail": "-"}],
        "gates_passed": True,
        "git_dirty": False,
        "params": {},
        "slices": [],
        "feature_statistics": {"area": {"mean": 1}},
        "created_at": datetime.now(UTC),
    }


if __name__ == "__main__":
    main()
