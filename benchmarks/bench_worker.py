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
from contextlib import contextmanager
from pathlib import Path

import psutil
from prefect.client.schemas.actions import WorkPoolCreate
from pydantic import SecretStr

from brandhouse_flows.connection import open_client
from brandhouse_flows.deployment_specs import OURS, DeploymentSpec
from brandhouse_flows.deployments import Registration, run_deployments
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
            locked = (settings.home / "logs" / "prefect-server.log").read_text().count("database is locked")
            print(f"{options.database}: the server said 'database is locked' {locked} times")
    return 0


def report(settings: Settings, port: int, runs: int) -> None:
    """Measure both workers in turn, so that whatever else the machine does slows both."""
    asyncio.run(prepare(port))
    with warm_worker(settings, port) as warm, stock_worker(settings, port) as stock:
        workers = {WARM: warm, STOCK: stock}
        for pool in workers:  # the first run may still be warming something up
            asyncio.run(follow(port, [f"noop/{pool}-0"]))
        idle = {pool: idle_cpu_share(pid) for pool, pid in workers.items()}
        before = {pool: (cpu_seconds(pid), time.monotonic()) for pool, pid in workers.items()}
        seconds: dict[str, list[float]] = {pool: [] for pool in workers}
        for pool in list(workers) * runs:
            seconds[pool].append(asyncio.run(follow(port, [f"noop/{pool}-0"])))
            wait_for_children(stock)
        cpu = {pool: cpu_of_runs(workers[pool], *before[pool], idle[pool]) / runs for pool in workers}
        at_once = {pool: asyncio.run(follow(port, [f"noop/{pool}-{number}" for number in range(AT_ONCE)])) for pool in workers}
    print(f"{'':28}{'warm':>8}{'stock':>8}{'ratio':>8}")
    print_row("seconds a run (median)", statistics.median(seconds[WARM]), statistics.median(seconds[STOCK]))
    print_row("seconds a run (best)", min(seconds[WARM]), min(seconds[STOCK]))
    print_row("CPU seconds a run", cpu[WARM], cpu[STOCK])
    print_row(f"{AT_ONCE} runs at once, seconds", at_once[WARM], at_once[STOCK])
    print(f"idle worker, share of a core: warm {idle[WARM]:.3f}, stock {idle[STOCK]:.3f}")


def wait_for_children(pid: int) -> None:
    """Wait until the stock worker's processes have gone: they go on for a while after the run's end."""
    while psutil.Process(pid).children(recursive=True):
        time.sleep(0.05)


def print_row(label: str, warm: float, stock: float) -> None:
    print(f"{label:28}{warm:8.2f}{stock:8.2f}{stock / warm:8.1f}")


def idle_cpu_share(pid: int, seconds: float = 4.0) -> float:
    """CPU seconds a second of a worker that has nothing to do."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def cpu_of_runs(pid: int, before: float, since: float, idle_share: float) -> float:
    """CPU seconds since then, without what polling takes anyway."""
    return cpu_seconds(pid) - before - (time.monotonic() - since) * idle_share


async def prepare(port: int) -> None:
    async with open_client(port) as client:
        await client.create_work_pool(WorkPoolCreate(name=STOCK, type="process"))
        specs = [
            DeploymentSpec("noop", f"{pool}-{number}", "bench_noop:noop", {}, pool, f"q{number}", 4, (OURS,))
            for pool in (WARM, STOCK)
            for number in range(AT_ONCE)
        ]
        await Registration(client).apply(specs, [])


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
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # it does not end where SIGINT was inherited as ignored
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
