"""Registration against a real server: idempotent, removes what is gone, and schedules really make runs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.exceptions import PrefectHTTPStatusError

import brandhouse_flows.automations as automations
import brandhouse_flows.deployments as deployments
from brandhouse_flows.connection import open_client
from brandhouse_flows.deployment_specs import DeploymentSpec
from brandhouse_flows.deployments import register, run_deployments
from brandhouse_flows.server import PrefectServer
from brandhouse_shared.errors import BrandhouseError

pytestmark = pytest.mark.alone

PATIENCE_SECONDS = 40.0


@pytest.fixture(autouse=True)
def own_tag(monkeypatch: pytest.MonkeyPatch) -> str:
    """A tag for this test alone, so that removing what is gone does not remove what other tests registered."""
    tag = f"tests-{uuid4().hex[:8]}"
    monkeypatch.setattr(deployments, "OURS", tag)
    monkeypatch.setattr(automations, "OURS", tag)
    return tag


def on_server(server: PrefectServer, work: Callable[[PrefectClient], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with open_client(server.port) as client:
            return await work(client)

    return asyncio.run(connected())


def spec_of(brand: str, tag: str, **changes: Any) -> DeploymentSpec:
    parameters = {"brand": brand, "model": "price", "force": False}
    spec = DeploymentSpec("train", f"{brand}.price", "no.such:flow", parameters, f"pool-{tag}", brand, 2, (tag, f"brand:{brand}"))
    return replace(spec, **changes)


def test_second_registration_has_nothing_to_do_and_a_gone_brand_is_removed(prefect_server: PrefectServer, own_tag: str) -> None:
    both = [spec_of(f"{name}_{own_tag[-4:]}", own_tag) for name in ("apple", "zebra")]

    async def work(client: PrefectClient) -> list[Any]:
        first = await register(client, both)
        second = await register(client, both)
        changed = await register(client, [both[0], replace(both[1], description="new words")])
        without = await register(client, both[:1])
        left = await client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[one.name for one in both])))
        return [first, second, changed, without, [one.name for one in left]]

    first, second, changed, without, left = on_server(prefect_server, work)
    assert first.created == tuple(one.full_name for one in both)
    assert second.is_empty and second.unchanged == 2 and str(second) == "nothing to do"
    assert changed.updated == (both[1].full_name,) and changed.unchanged == 1
    assert without.removed == (both[1].full_name,)
    assert left == [both[0].name]


def test_cron_deployment_gets_scheduled_runs(prefect_server: PrefectServer, own_tag: str) -> None:
    """Fails with a SQLAlchemy that Prefect's scheduler cannot work with: the server is healthy then and schedules nothing."""
    spec = spec_of(f"cron_{own_tag[-4:]}", own_tag, cron="*/5 * * * *", timezone="Europe/Amsterdam")

    async def work(client: PrefectClient) -> int:
        await register(client, [spec])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            by_name = DeploymentFilter(name=DeploymentFilterName(any_=[spec.name]))
            runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(), deployment_filter=by_name)
            if runs:
                return sum(run.state is not None and run.state.is_scheduled() for run in runs)
            await asyncio.sleep(0.2)
        return 0

    assert on_server(prefect_server, work) > 0, "no run was scheduled"


def test_run_of_one_brands_deployment_for_another_brand_is_refused(prefect_server: PrefectServer, own_tag: str) -> None:
    spec = spec_of(f"apple_{own_tag[-4:]}", own_tag)

    async def work(client: PrefectClient) -> None:
        await register(client, [spec])
        deployment = await client.read_deployment_by_name(spec.full_name)
        await client.create_flow_run_from_deployment(deployment.id, parameters={"brand": "zebra"})

    with pytest.raises(PrefectHTTPStatusError, match="Validation failed for field 'brand'"):
        on_server(prefect_server, work)


def test_running_what_is_not_registered_names_it(prefect_server: PrefectServer) -> None:
    async def work(client: PrefectClient) -> None:
        async for _ in run_deployments(client, ["train/nobody.nothing"]):
            pass

    with pytest.raises(BrandhouseError, match=r"train/nobody\.nothing"):
        on_server(prefect_server, work)
