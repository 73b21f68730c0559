"""What one flow run costs with our warm worker and with Prefect's stock process worker, on the same server.

The run does nothing but import scikit-learn's ensembles, as every training does. Seconds from the creation of the run
to its end, and CPU seconds of worker and run. Usage: `python benchmarks/bench_worker.py [--runs 5] [--port 4390]`.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
from prefect.client.schemas.actions import WorkPoolCreate
from pydantic import SecretStr

from brandhouse_flows.connection import open_client
from brandhouse_flows.deployments import OURS, DeploymentSpec, Registration, run_deployments
from brandhouse_flows.processes import plain_environment
from brandhouse_flows.server import PrefectServer, server_environment
from brandhouse_flows.worker_process import WorkerProcess
from brandhouse_shared.settings import Settings

FLOW = """
from prefect import flow

@flow(name="noop")
def noop(number: int = 0) -> None:
    import pandas, sklearn.ensemble, sklearn.pipeline  # noqa
"""
WARM, STOCK = "bench-warm", "bench-stock"
AT_ONCE = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int, default=4390)
    parser.add_argument("--database", choices=["postgres", "sqlite"], default="postgres")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        (root / "brands").mkdir()
        (root / "bench_noop.py").write_text(FLOW)
        settings = Settings(root=root, home=root / "home", ledger_url=SecretStr("sqlite://"))
        with PrefectServer(settings, options.port, options.database):
            report(settings, options.port, options.runs)
    return 0


def report(settings: Settings, port: int, runs: int) -> None:
    asyncio.run(prepare(port))
    warm = measure(WARM, port, runs, warm_worker(settings, port))
    stock = measure(STOCK, port, runs, stock_worker(settings, port))
    print(f"{'':24}{'warm':>10}{'stock':>10}{'ratio':>8}")
    for row, label in enumerate(["seconds a run (median)", "CPU seconds a run", f"{AT_ONCE} runs at once (s)"]):
        print(f"{label:24}{warm[row]:10.2f}{stock[row]:10.2f}{stock[row] / warm[row]:8.1f}")


async def prepare(port: int) -> None:
    async with open_client(port) as client:
        await client.create_work_pool(WorkPoolCreate(name=STOCK, type="process"))
        specs = [
            DeploymentSpec("noop", f"{pool}-{number}", "bench_noop:noop", {}, pool, f"q{number}", 4, (OURS,))
            for pool in (WARM, STOCK)
            for number in range(AT_ONCE)
        ]
        await Registration(client).apply(specs, [])


def measure(pool: str, port: int, runs: int, worker: AbstractContextManager[int]) -> tuple[float, float, float]:
    with worker as pid:
        asyncio.run(follow(port, [f"noop/{pool}-0"]))  # the first run may still be warming something up
        before = cpu_seconds(pid)
        seconds = [asyncio.run(follow(port, [f"noop/{pool}-0"])) for _ in range(runs)]
        used = (cpu_seconds(pid) - before) / runs
        at_once = asyncio.run(follow(port, [f"noop/{pool}-{number}" for number in range(AT_ONCE)]))
    return statistics.median(seconds), used, at_once


async def follow(port: int, names: list[str]) -> float:
    """Start runs and return the seconds until the last one has ended."""
    async with open_client(port) as client:
        started = time.monotonic()
        failed = [change async for change in run_deployments(client, names) if change.is_final and not change.is_completed]
        if failed:
            raise SystemExit(f"a run did not complete: {failed[0]}")
        return time.monotonic() - started


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a worker, its live descendants and those that it has waited for."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in family)


@contextmanager
def warm_worker(settings: Settings, port: int) -> Iterator[int]:
    path = {"PYTHONPATH": os.pathsep.join([str(settings.root), os.environ.get("PYTHONPATH", "")])}
    with WorkerProcess(settings, port, WARM, 4, variables=path) as worker:
        yield worker.pid


@contextmanager
def stock_worker(settings: Settings, port: int) -> Iterator[int]:
    """Prefect's own, asked to poll as often as ours."""
    environment = {**plain_environment(os.environ), **server_environment(settings, port), "PREFECT_WORKER_QUERY_SECONDS": "0.25"}
    environment["PYTHONPATH"] = os.pathsep.join([str(settings.root), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", STOCK, "--type", "process", "--limit", "4"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
