"""Measure a search in the training's process and on a Dask cluster of two workers on this machine.

    .venv/bin/python benchmarks/bench_dask.py [ROWS ...]

Prints seconds per search and the seconds that connecting, packing and the first fold cost. The same points are tried.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import SecretStr

from brandhouse_flows.dask_folds import open_dask_scorer
from brandhouse_flows.planning import plan_training
from brandhouse_flows.search import Choice, OpenScorer, TrainingRows, choose_candidate, score_here
from brandhouse_shared.brands import load_brand_module
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

ROWS = (500, 5_000)
ROUNDS = 3
BRAND = """
name = "bench"
title = "Bench"
story = "An invented brand."
owner = "bench@house.example"
risk = "low"
budget_eur_month = 1

[datasets.table]
file = "data/table.csv"
source = { kind = "file", path = "table.csv" }

[models.price]
entrypoint = "brand_bench.price"
dataset = "table"
task = "regression"
target = "y"
metric = "mae"
inputs = { x0 = { type = "number" } }
candidates.forest.space.min_samples_leaf = { low = 1, high = 20, integer = true }
search = { trials = 11, seconds = 3600 }
"""
CODE = '''"""A forest."""

from sklearn.ensemble import RandomForestRegressor


def build_features(rows):
    return rows


def build_estimator(**params):  # one thread, as a run has
    return RandomForestRegressor(n_estimators=50, random_state=0, **params)
'''


def main() -> None:
    """Measure each size and print one line."""
    with tempfile.TemporaryDirectory() as folder, started_cluster(Path(folder)) as address:
        plan = plan_training(write_workspace(Path(folder)), ModelKey("bench", "price"), "bench", "local")
        print(f"{os.cpu_count()} cores; 11 trials of 3 folds, 50 trees; median of {ROUNDS}; load before: {os.getloadavg()[0]:.1f}")
        for rows in [int(word) for word in sys.argv[1:]] or ROWS:
            here, there = [], []
            for _ in range(ROUNDS):  # by turns, so that what else the machine does hits both
                here.append(search(plan, rows, score_here))
                there.append(search(plan, rows, lambda contest: open_dask_scorer(plan, address, contest)))
            assert here[0][1] == there[0][1], "the same trials with the same scores"
            medians = [float(np.median([seconds for seconds, _ in taken])) for taken in (here, there)]
            print(f"{rows:>7} rows: here {medians[0]:7.2f} s, two Dask workers {medians[1]:7.2f} s")


def search(plan: Any, rows: int, open_scorer: OpenScorer) -> tuple[float, list[Any]]:
    """Search once; return seconds and trials."""
    generator = np.random.default_rng(0)
    features = pd.DataFrame(generator.normal(size=(rows, 10)).astype(np.float32), columns=[f"x{number}" for number in range(10)])
    target = np.asarray(features["x0"] * features["x1"] + generator.normal(size=rows), dtype=np.float64)
    code = load_brand_module(plan.brand, plan.model.entrypoint)
    started = time.monotonic()
    choice: Choice = choose_candidate(code, plan.model, TrainingRows(features, target, None), "bench/price", open_scorer)
    return time.monotonic() - started, [(trial.params, trial.score) for trial in choice.trials]


def write_workspace(root: Path) -> Settings:
    """Write a workspace of one brand."""
    source = root / "brands" / "bench" / "src" / "brand_bench"
    source.mkdir(parents=True)
    (root / "brands" / "bench" / "brand.toml").write_text(BRAND)
    (source / "__init__.py").write_text('"""Bench."""\n')
    (source / "price.py").write_text(CODE)
    for name in ("pyproject.toml", "requirements.lock"):
        (root / name).write_text("")
    return Settings(root=root, home=root / "home", ledger_url=SecretStr("sqlite://"))


@contextmanager
def started_cluster(folder: Path) -> Iterator[str]:
    """A scheduler and two workers of one thread each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    dask = str(Path(sys.executable).with_name("dask"))
    worker = [dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    commands = [[dask, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"], worker, worker]
    with (folder / "dask.log").open("wb") as log:
        started = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
