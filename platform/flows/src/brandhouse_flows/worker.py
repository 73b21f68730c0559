"""The worker's process: `python -m brandhouse_flows.worker --pool NAME [--limit N]`.

Prefect finds the worker type through this module, so `prefect worker start -t brandhouse-warm` works as well; ours
goes on through any outage of the server.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
from typing import Any

import anyio
import httpx

from brandhouse_flows.reaper import ReaperPolicy
from brandhouse_flows.warm_worker import POLL_SECONDS, SWEEP_SECONDS, WarmWorker
from brandhouse_shared.settings import load_settings

TICK_SECONDS = 0.05
"""Between two looks whether it is time to ask for runs; a place that gets free is filled at once."""


async def serve(worker: WarmWorker, ready: int | None) -> None:
    """Execute runs until SIGTERM or SIGINT. Goes on through any outage of the server."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with worker, anyio.create_task_group() as loops:
            loops.start_soon(_repeat, worker.get_and_submit_flow_runs, TICK_SECONDS)
            loops.start_soon(_repeat, worker._sync_and_initialize, float(worker.heartbeat_interval_seconds))
            _say_ready(worker, ready)
            async for _ in signals:
                break
            loops.cancel_scope.cancel()


async def _repeat(work: Any, every_seconds: float) -> None:
    while True:
        try:
            await work()
        except httpx.HTTPError as error:
            logging.getLogger("prefect.worker").debug("the server is away: %r", error)
        await anyio.sleep(every_seconds)


def _say_ready(worker: WarmWorker, ready: int | None) -> None:
    sys.stderr.write(f"worker {worker.name} is ready\n")
    if ready is not None:
        os.write(ready, b"ready\n")
        os.close(ready)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the worker's process."""
    parser = argparse.ArgumentParser(prog="python -m brandhouse_flows.worker", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--pool", required=True, help="work pool whose runs to execute")
    parser.add_argument("--limit", type=int, default=None, help="runs at once; default: BRANDHOUSE_CONCURRENT_RUNS")
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    parser.add_argument("--sweep-seconds", type=float, default=SWEEP_SECONDS)
    parser.add_argument("--retry-delay-seconds", type=float, default=ReaperPolicy().retry_delay_seconds)
    parser.add_argument("--cancel-grace-seconds", type=float, default=ReaperPolicy().cancel_grace_seconds)
    parser.add_argument("--unstarted-seconds", type=float, default=ReaperPolicy().unstarted_seconds)
    parser.add_argument(
        "--lean", action="store_true", help="preload no numeric library: starts in a second, for pools that run no training"
    )
    parser.add_argument("--ready-fd", type=int, default=None, help="descriptor that is told when runs are accepted")
    options = parser.parse_args(arguments)
    settings = load_settings()
    worker = WarmWorker(options.pool, limit=options.limit or settings.concurrent_runs)
    worker.settings, worker.is_lean = settings, options.lean
    worker.poll_seconds, worker.sweep_seconds = options.poll_seconds, options.sweep_seconds
    worker.policy = ReaperPolicy(
        retry_delay_seconds=options.retry_delay_seconds,
        cancel_grace_seconds=options.cancel_grace_seconds,
        unstarted_seconds=options.unstarted_seconds,
    )
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(serve, worker, options.ready_fd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
