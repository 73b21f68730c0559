"""Registering the deployments of 1,000 brands: ours beside Prefect's own client, on the same server.

Prefect's client: pools and queues are made, then `create_deployment` is called for one deployment after the other. Ours:
`register`, then the automations that start retrainings, then once more with nothing to do.

    .venv/bin/python benchmarks/bench_registration.py --brands 1000
"""

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench_scale import write_workspace
from pydantic import SecretStr

from brandhouse_console.local_stack import find_port
from brandhouse_flows.server import PrefectServer
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.settings import Settings

PEER = "Prefect's client"


async def measure(settings: Settings) -> dict[str, float]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.client.schemas.schedules import CronSchedule

    from brandhouse_flows.automations import desired_automations
    from brandhouse_flows.deployment_specs import desired_deployments
    from brandhouse_flows.deployments import register

    brands, _ = discover_brands(settings.brands_dir)
    specs, automations = desired_deployments(brands, settings), desired_automations(brands)
    peers = [replace(spec, name=f"{spec.name}-peer", tags=("peer",), pool="peer") for spec in specs]
    seconds: dict[str, float] = {}
    async with get_client() as client:
        flow_ids = {name: await client.create_flow_from_name(name) for name in {spec.flow for spec in specs}}

        async def by_prefect() -> None:
            await client.create_work_pool(WorkPoolCreate(name="peer", type="process"))
            for queue in {spec.queue for spec in peers}:
                await client.create_work_queue(name=queue, work_pool_name="peer", concurrency_limit=2)
            for spec in peers:
                cron = [DeploymentScheduleCreate(schedule=CronSchedule(cron=spec.cron, timezone=spec.timezone))] if spec.cron else []
                await client.create_deployment(
                    flow_id=flow_ids[spec.flow],
                    name=spec.name,
                    entrypoint=spec.entrypoint,
                    parameters=dict(spec.parameters),
                    work_pool_name=spec.pool,
                    work_queue_name=spec.queue,
                    tags=list(spec.tags),
                    schedules=cron,
                    concurrency_limit=1,
                )

        async def by_us() -> None:
            difference = await register(client, specs)
            assert len(difference.created) == len(specs)

        async def with_automations() -> None:
            difference = await register(client, specs, automations)
            assert len(difference.created) == len(automations)

        async def again() -> None:
            difference = await register(client, specs, automations)
            assert difference.is_empty

        for name, work in ((PEER, by_prefect), ("ours", by_us), ("our automations", with_automations), ("ours, nothing to do", again)):
            started = time.monotonic()
            await work()
            seconds[name] = time.monotonic() - started
    return seconds | {"deployments": float(len(specs)), "automations": float(len(automations))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brands", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bh-bench-") as folder:
        root = Path(folder)
        write_workspace(root, options.brands)
        settings = Settings(root=root, home=root / "home", ledger_url=SecretStr("sqlite://"))
        server = PrefectServer(settings, find_port(None, 0))
        os.environ.update(server.environment)
        with server:
            seconds = asyncio.run(measure(settings))
    print(f"{seconds.pop('deployments'):.0f} deployments and {seconds.pop('automations'):.0f} automations of {options.brands} brands")
    for name, value in seconds.items():
        print(f"{name:22s} {value:7.1f} s")
    print(f"{'ratio':22s} {seconds['ours'] / seconds[PEER]:7.2f}   at most 1.2")


if __name__ == "__main__":
    main()
