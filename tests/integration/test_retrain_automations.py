"""Automations that really fire: a real Prefect server, a real worker, two brands; an event of one starts its own retraining alone."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.client.schemas.objects import FlowRun

import brandhouse_flows.automations as automations
import brandhouse_flows.deployment_specs as deployment_specs
import brandhouse_flows.deployments as deployments
from brandhouse_flows.automations import desired_automations
from brandhouse_flows.connection import open_client
from brandhouse_flows.deployment_specs import SHARED_POOL, desired_deployments
from brandhouse_flows.deployments import RunChange, register, run_deployments
from brandhouse_flows.registration_changes import Diff
from brandhouse_flows.server import PrefectServer
from brandhouse_flows.worker_process import WorkerProcess
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

pytestmark = [pytest.mark.alone, pytest.mark.slow]

CASA = ModelKey("casa", "price")
PATIENCE_SECONDS = 120.0
SETTLE_SECONDS = 4.0


@pytest.fixture(autouse=True)
def own_tag(monkeypatch: pytest.MonkeyPatch) -> str:
    """A tag for this test alone, so that it neither sees nor removes what other tests registered."""
    tag = f"tests-{uuid4().hex[:8]}"
    for module in (deployments, automations, deployment_specs):
        monkeypatch.setattr(module, "OURS", tag)
    return tag


@pytest.fixture
def house(workspace: Any, prefect_server: PrefectServer) -> Iterator[Any]:
    """Two brands with a version in production each, and a worker for their runs."""
    workspace.train()
    workspace.train(ModelKey("villa", "sold"))
    with WorkerProcess(workspace.settings, prefect_server.port, SHARED_POOL, 2, ("--retry-delay-seconds", "0.5"), workspace.environment):
        yield workspace
    on_server(prefect_server, lambda client: register(client, [], []))


def on_server(server: PrefectServer, work: Callable[[PrefectClient], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with open_client(server.port) as client:
            return await work(client)

    return asyncio.run(connected())


def registered(server: PrefectServer, workspace: Any, *names: str) -> Diff:
    brands = [workspace.brand(name) for name in names]
    specs = [spec for spec in desired_deployments(brands, workspace.settings) if spec.flow in ("retrain", "train", "ingest")]
    return on_server(server, lambda client: register(client, specs, desired_automations(brands)))  # type: ignore[no-any-return]


def emit(server: PrefectServer, workspace: Any, call: str) -> None:
    """Send an event from a process of its own, as a flow run does."""
    code = f"from brandhouse_flows.events import emit_check, emit_snapshot; assert {call}"
    subprocess.run([sys.executable, "-c", code], env={**workspace.environment, **server.environment}, check=True)


async def runs_of(client: PrefectClient, *names: str) -> list[FlowRun]:
    by_name = DeploymentFilter(name=DeploymentFilterName(any_=list(names)))
    return await client.read_flow_runs(flow_run_filter=FlowRunFilter(), deployment_filter=by_name)


async def ended_runs(client: PrefectClient, name: str, count: int) -> list[FlowRun]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        runs = await runs_of(client, name)
        if len(runs) >= count and all(run.state is not None and run.state.is_final() for run in runs):
            return runs
        await asyncio.sleep(0.2)
    raise AssertionError(f"{[(run.name, run.state_name) for run in runs]} after {PATIENCE_SECONDS} s")


def test_a_drift_event_of_one_brand_retrains_that_model_and_nothing_else(
    prefect_server: PrefectServer, house: Any, make_tables: Any
) -> None:
    registered(prefect_server, house, "casa", "villa")
    table = make_tables.casa(seed=9)
    house.write_table("casa", "homes", table.assign(price=500_000 - table["price"] * 0.4))
    house.append("brands/casa/brand.toml", "\n[models.price.retraining]\ncooldown_hours = 0\n")
    emit(prefect_server, house, "emit_check('casa', 'price', 'drift.area', state='red', detail='area drifts', value=0.4, limit=0.2)")
    emit(prefect_server, house, "emit_check('villa', 'sold', 'drift.area', state='green', detail='well again')")
    emit(prefect_server, house, "emit_check('villa', 'sold', 'skew', state='red', detail='training does not mend this')")

    async def work(client: PrefectClient) -> tuple[list[FlowRun], list[FlowRun]]:
        runs = await ended_runs(client, "casa.price", 1)
        await asyncio.sleep(SETTLE_SECONDS)
        return runs, await runs_of(client, "villa.sold")

    (run,), others = on_server(prefect_server, work)
    assert others == [], "nothing of the other brand was started"
    assert run.parameters | {"force": False} == {
        "brand": "casa", "model": "price", "trigger": "drift", "reason": "area drifts", "force": False,
    }  # fmt: skip
    assert run.state_name == "Registered", run.state
    (outcome, decision) = house.ledger.entries(EntryKind.DECISION)
    assert (decision.brand, decision.state, decision.facts["asked_because"]) == ("casa", "train", "area drifts")
    assert (outcome.name, outcome.state, outcome.number) == ("retraining.outcome", "registered", house.ledger.versions(CASA)[0].number)
    assert str(house.ledger.versions(CASA)[0].stage) == "shadow"


def test_a_storm_of_events_trains_once_and_new_data_are_an_event_of_the_ingest(
    prefect_server: PrefectServer, house: Any, make_tables: Any
) -> None:
    registered(prefect_server, house, "casa", "villa")
    house.append("brands/casa/brand.toml", "\n[models.price.retraining]\ncooldown_hours = 0\n")
    table = make_tables.casa(seed=9)
    house.write_table("casa", "homes", table.assign(price=500_000 - table["price"] * 0.4), pointer=False)

    async def ingest(client: PrefectClient) -> list[FlowRun]:
        deployment = await client.read_deployment_by_name("ingest/casa")
        await client.update_deployment(deployment.id, _with_new_data(deployment))
        await client.create_flow_run_from_deployment(deployment.id)
        return await ended_runs(client, "casa.price", 1)

    (run,) = on_server(prefect_server, ingest)
    assert run.parameters["trigger"] == "snapshot" and run.state_name == "Registered", run.state
    storm = "all(emit_snapshot('casa', 'homes', str(n) * 32, 400) for n in range(6))"
    emit(prefect_server, house, storm)

    async def all_ended(client: PrefectClient) -> list[FlowRun]:
        return await ended_runs(client, "casa.price", 7)

    states = [str(run.state_name) for run in on_server(prefect_server, all_ended)]
    assert states.count("Registered") == 1 and set(states) <= {"Registered", "Cancelled", "Skipped"}, states
    assert len(house.ledger.versions(CASA)) == 2


def _with_new_data(deployment: Any) -> Any:
    from prefect.client.schemas.actions import DeploymentUpdate

    return DeploymentUpdate(parameters={"brand": "casa", "accept_new": True}, enforce_parameter_schema=False)


def test_automations_follow_the_declaration_and_go_with_their_brand(prefect_server: PrefectServer, workspace: Any) -> None:
    def named(change: tuple[str, ...]) -> list[str]:
        return [name for name in change if name.startswith("brandhouse retrain")]

    first = registered(prefect_server, workspace, "casa", "villa")
    assert named(first.created) == ["brandhouse retrain casa.price", "brandhouse retrain villa.sold"]
    assert registered(prefect_server, workspace, "casa", "villa").is_empty
    workspace.append("brands/casa/brand.toml", '\n[models.price.retraining]\ntriggers = ["hand", "drift"]\n')
    assert registered(prefect_server, workspace, "casa", "villa").updated == ("brandhouse retrain casa.price",)
    gone = registered(prefect_server, workspace, "casa")
    assert named(gone.removed) == ["brandhouse retrain villa.sold"]
    workspace.edit("brands/casa/brand.toml", 'triggers = ["hand", "drift"]', "triggers = []")
    assert named(registered(prefect_server, workspace, "casa").removed) == ["brandhouse retrain casa.price"]


def test_a_server_that_is_gone_during_a_retraining_leaves_a_clear_state(
    prefect_server: PrefectServer, house: Any, make_tables: Any, tmp_path: Path
) -> None:
    registered(prefect_server, house, "casa", "villa")
    table = make_tables.casa(seed=9)
    house.write_table("casa", "homes", table.assign(price=500_000 - table["price"] * 0.4))
    slow = (
        f"def build_features(rows):\n    import pathlib, time\n    flag = pathlib.Path({str(tmp_path / 'began')!r})\n"
        "    if not flag.exists():\n        flag.touch()\n        time.sleep(8)\n"
    )
    house.edit("brands/casa/src/brand_casa/price.py", "def build_features(rows):\n", slow)

    async def start(client: PrefectClient) -> None:
        deployment = await client.read_deployment_by_name("retrain/casa.price")
        await client.create_flow_run_from_deployment(deployment.id, parameters={"trigger": "hand", "reason": "a test"})

    on_server(prefect_server, start)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline, "the training has not begun"
        time.sleep(0.1)
    prefect_server.kill_process()
    try:
        while not house.ledger.entries(EntryKind.DECISION, name="retraining.outcome"):
            assert time.monotonic() < deadline + PATIENCE_SECONDS, "the retraining goes on without the server"
            time.sleep(0.2)
    finally:
        prefect_server.restart_process()
    (run,) = on_server(prefect_server, lambda client: ended_runs(client, "casa.price", 1))
    assert run.state_name == "Registered", run.state
    (outcome,) = house.ledger.entries(EntryKind.DECISION, name="retraining.outcome")
    assert (outcome.state, outcome.run_id) == ("registered", str(run.id))
    assert {one.outcome for one in house.ledger.runs(CASA)} == {"registered"}


def test_progress_starts_what_a_lost_event_owes_and_the_drill_runs_as_a_flow(prefect_server: PrefectServer, house: Any) -> None:
    brands = [house.brand(name) for name in ("casa", "villa")]
    wanted = ("retrain/casa.price", "retrain/villa.sold", "progress/house", "drill/casa.price")
    specs = [replace(spec, cron=None) for spec in desired_deployments(brands, house.settings) if spec.full_name in wanted]
    lost = Entry(
        kind=EntryKind.CHECK,
        brand="casa",
        model="price",
        name="drift.area",
        state="red",
        detail="area drifts",
        actor="a test",
        at=datetime.now(UTC) - timedelta(minutes=20),
    )
    house.ledger.record_entry(lost)

    async def work(client: PrefectClient) -> tuple[list[RunChange], list[FlowRun], list[FlowRun]]:
        await register(client, specs)
        changes = [change async for change in run_deployments(client, ["progress/house", "drill/casa.price"])]
        started = [run for run in await ended_runs(client, "casa.price", 2) if "trigger" in run.parameters]
        return changes, started, await runs_of(client, "villa.sold")

    changes, started, others = on_server(prefect_server, work)
    states = {change.deployment: change.state for change in changes if change.is_final}
    assert states == {"progress/house": "Moved", "drill/casa.price": "NothingToPractise"}, changes
    (run,) = started
    assert run.parameters["trigger"] == "drift" and run.parameters["reason"] == "area drifts (its event started nothing)"
    assert run.state_name == "Skipped", "the data are those of before: training again cannot help"
    assert others == []
