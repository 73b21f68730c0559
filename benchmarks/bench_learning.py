"""All trainings through the template and the server, beside the same scikit-learn work in a bare loop.

Both run the same models with the same number of processes. Bare: read the table, build features, search, fit the
candidate and the baselines, predict the hold-out. Template: a forced `train` run of every model through a real Prefect
server and the warm worker, from the first request to the last end, with everything the platform adds.

    .venv/bin/python benchmarks/bench_learning.py [--database sqlite] [--json]
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the worker: processes run side by side, threads would fight

from brandhouse_shared.brands import discover_brands, load_brand_module
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings


def learn_bare(settings: Settings, key: ModelKey) -> float:
    """Do the scikit-learn work of one model and return its seconds."""
    from brandhouse_flows.data_project import DataProject
    from brandhouse_flows.evaluation import fit_models
    from brandhouse_flows.material import prepare_material
    from brandhouse_flows.planning import plan_training
    from brandhouse_flows.search import predict

    started = time.monotonic()
    plan = plan_training(settings, key, "bench", "local")
    code = load_brand_module(plan.brand, plan.model.entrypoint)
    snapshot = DataProject(plan.brand, settings).import_source(plan.model.dataset)
    material = prepare_material(plan, snapshot, code)
    fitted = fit_models(plan, material, code)
    for estimator in (fitted.estimator, *fitted.baselines.values()):
        predict(estimator, plan.model.task, material.holdout_features, str(key))
    return time.monotonic() - started


def warm_up() -> None:
    """Import what learning needs, so that the bare loop does not pay for it either."""
    import optuna  # noqa: F401
    import sklearn.ensemble  # noqa: F401

    import brandhouse_flows.evaluation  # noqa: F401


def run_bare(settings: Settings, keys: list[ModelKey], processes: int) -> tuple[float, float]:
    """Return wall seconds and summed seconds of all models in a bare pool of processes."""
    with ProcessPoolExecutor(processes, initializer=warm_up) as pool:
        list(pool.map(time.sleep, [0.5] * processes))  # all processes are warm
        started = time.monotonic()
        seconds = list(pool.map(learn_bare, [settings] * len(keys), keys))
        return time.monotonic() - started, sum(seconds)


def run_template(settings: Settings, keys: list[ModelKey], database: str) -> dict[str, Any]:
    """Return wall seconds and outcomes of a round of trainings through the server, and of one with nothing to train."""
    from brandhouse_console.local_stack import LocalStack, find_port
    from brandhouse_console.server_runs import register_all, run_trainings
    from brandhouse_flows.server import HOST

    brands, _ = discover_brands(settings.brands_dir)
    with LocalStack(settings, brands, host=HOST, port=find_port(None, 0), prefect_port=find_port(None, 0), database=database) as stack:
        stack.start_workers()
        stack.start_server()
        asyncio.run(register_all(settings, brands))
        asyncio.run(run_trainings(settings, keys[:1], force=False))  # the worker is warm when this ends
        started = time.monotonic()
        results = asyncio.run(run_trainings(settings, keys, force=True))
        wall = time.monotonic() - started
        started = time.monotonic()
        unchanged = asyncio.run(run_trainings(settings, keys, force=False))
        unchanged_seconds = time.monotonic() - started
        log = stack.server.log_file.read_text(errors="replace")
    return {
        "wall_seconds": wall,
        "failed": [result["detail"] for result in results if result["outcome"] == "failed"],
        "unchanged_wall_seconds": unchanged_seconds,
        "not_unchanged": [result["detail"] for result in unchanged if result["outcome"] != "unchanged"],
        "database_is_locked": log.count("database is locked"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bh-bench-") as home:
        os.environ["BRANDHOUSE_HOME"] = str(Path(home))
        settings = load_settings()
        brands, _ = discover_brands(settings.brands_dir)
        keys = [key for brand in brands for key in brand.model_keys]
        run_bare(settings, keys, settings.concurrent_runs)  # brings the data in
        bare_wall, bare_sum = run_bare(settings, keys, settings.concurrent_runs)
        template = run_template(settings, keys, options.database)
    figures = {
        "models": len(keys),
        "database": options.database,
        "processes": settings.concurrent_runs,
        "bare_wall_seconds": bare_wall,
        "bare_summed_seconds": bare_sum,
        **{f"template_{name}": value for name, value in template.items()},
        "ratio": template["wall_seconds"] / bare_wall,
    }
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32s} {value:.2f}" if isinstance(value, float) else f"{name:32s} {value}")


if __name__ == "__main__":
    main()
