"""The warm worker and the reaper against a real server: runs complete, are isolated, cancelled, and survive every kill."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelling

from brandhouse_flows.connection import open_client
from brandhouse_flows.deployment_specs import OURS, DeploymentSpec
from brandhouse_flows.deployments import run_deployments
from brandhouse_flows.processes import ProcessIdentity
from brandhouse_flows.reaper import Reaper, ReaperPolicy
from brandhouse_flows.run_records import RunRecord, RunRecords
from brandhouse_flows.server import PrefectServer
from brandhouse_flows.worker_process import WorkerProcess
from brandhouse_shared.settings import Settings

pytestmark = pytest.mark.alone

HERE = Path(__file__).parent
QUICK = ("--lean", "--retry-delay-seconds", "0.5", "--sweep-seconds", "0.3", "--cancel-grace-seconds", "1", "--unstarted-seconds", "3")
SECRETS = {
    "BRANDHOUSE_SECRET_AUTO_KEY": "of-auto",
    "BRANDHOUSE_SECRET_AUTO_PLEIN_KEY": "of-auto-plein",
    "BRANDHOUSE_SECRET_BAKERY_KEY": "of-bakery",
}
PATIENCE_SECONDS = 40.0


@pytest.fixture(scope="module")
def pool() -> str:
    return f"tests-{uuid4().hex[:8]}"


@contextmanager
def running_worker(server: PrefectServer, settings: Settings, pool: str, limit: int = 4) -> Iterator[WorkerProcess]:
    variables = {"PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}", **SECRETS}
    worker = WorkerProcess(settings, server.port, pool, limit, QUICK, variables)
    with worker:
        yield worker


@pytest.fixture(scope="module")
def worker(prefect_server: PrefectServer, prefect_settings: Settings, pool: str) -> Iterator[WorkerProcess]:
    """One worker for the tests that do not kill it."""
    with running_worker(prefect_server, prefect_settings, pool) as process:
        yield process


def on_server(server: PrefectServer, work: Callable[[PrefectClient], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with open_client(server.port) as client:
            return await work(client)

    return asyncio.run(connected())


def spec(pool: str, flow: str, folder: Path, **parameters: Any) -> DeploymentSpec:
    name = f"d{uuid4().hex[:8]}"
    values = {"folder": str(folder), **parameters}
    return DeploymentSpec(flow, name, f"warm_test_flows:{flow}", values, pool, f"q-{name}", 4, (OURS, "of-a-test"))


async def start(client: PrefectClient, wanted: DeploymentSpec) -> FlowRun:
    await _add(client, wanted)
    deployment = await client.read_deployment_by_name(wanted.full_name)
    return await client.create_flow_run_from_deployment(deployment.id)


async def _add(client: PrefectClient, *wanted: DeploymentSpec) -> None:
    from brandhouse_flows.deployments import Registration

    await Registration(client).apply(wanted, [])


async def until(client: PrefectClient, flow_run_id: UUID, *types: StateType) -> State[Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        run = await client.read_flow_run(flow_run_id)
        if run.state is not None and run.state.type in types:
            return run.state
        await asyncio.sleep(0.1)
    raise AssertionError(f"the run is {run.state!r} after {PATIENCE_SECONDS} s, expected {types}")


async def until_noted(folder: Path, line: str) -> list[str]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if any(one.startswith(line) for one in noted(folder)):
            return noted(folder)
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing noted {line!r} within {PATIENCE_SECONDS} s: {noted(folder)}")


def noted(folder: Path) -> list[str]:
    path = folder / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def pids(notes: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in notes if line.startswith("start ")]


async def attempts(client: PrefectClient, run: FlowRun) -> list[FlowRun]:
    """The first run and its retries, oldest first."""
    runs = await client.read_flow_runs(limit=200)
    mine = [one for one in runs if one.id == run.id or f"retry-of:{run.id}" in one.tags]
    return sorted(mine, key=lambda one: one.created)  # type: ignore[arg-type, return-value]


async def until_attempt(client: PrefectClient, run: FlowRun, number: int, *types: StateType) -> list[FlowRun]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = await attempts(client, run)
        if len(found) >= number and found[number - 1].state_type in types:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"attempts: {[(one.name, one.state_type) for one in found]}")


def test_twelve_runs_at_once_complete(prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path) -> None:
    async def work(client: PrefectClient) -> list[Any]:
        wanted = [spec(pool, "wait", tmp_path, only_first_waits=False) for _ in range(12)]
        await _add(client, *wanted)
        return [change async for change in run_deployments(client, [one.full_name for one in wanted])]

    changes = on_server(prefect_server, work)
    final = [change for change in changes if change.is_final]
    assert len(final) == 12 and all(change.is_completed for change in final), [str(change) for change in final]
    assert len(set(pids(noted(tmp_path)))) == 12, "each run has a process of its own"


def test_run_has_its_own_folder_and_only_its_brands_secrets(
    prefect_server: PrefectServer, prefect_settings: Settings, worker: WorkerProcess, pool: str, tmp_path: Path
) -> None:
    (prefect_settings.brands_dir / "auto_plein").mkdir(exist_ok=True)
    (prefect_settings.brands_dir / "auto_plein" / "brand.toml").touch()

    async def work(client: PrefectClient) -> None:
        run = await start(client, spec(pool, "look", tmp_path, brand="auto"))
        await until(client, run.id, StateType.COMPLETED)

    on_server(prefect_server, work)
    found = json.loads((tmp_path / "found.json").read_text())
    secrets = {name for name in found["environ"] if "SECRET" in name}
    assert secrets == {"BRANDHOUSE_SECRET_AUTO_KEY"}
    assert "of-bakery" not in found["proc_environ"] and "of-auto-plein" not in found["proc_environ"]
    assert found["environ"]["BRANDHOUSE_HOME"] == str(prefect_settings.home)
    assert str(prefect_settings.home / "runs") in found["cwd"]
    wait_for(lambda: not Path(found["cwd"]).exists(), "the run's folder is removed")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.05)


def test_cancelled_run_stops_and_is_cancelled(prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path) -> None:
    async def work(client: PrefectClient) -> tuple[State[Any], list[FlowRun]]:
        run = await start(client, spec(pool, "wait", tmp_path, seconds=60.0))
        await until_noted(tmp_path, "start")
        await client.set_flow_run_state(run.id, Cancelling())
        state = await until(client, run.id, StateType.CANCELLED, StateType.CRASHED)
        await asyncio.sleep(1.5)
        return state, await attempts(client, run)

    state, runs = on_server(prefect_server, work)
    assert state.type is StateType.CANCELLED
    assert len(runs) == 1, "a cancelled run is not retried"
    assert not any(line.startswith("end") for line in noted(tmp_path))


def test_run_that_ignores_cancelling_is_killed(prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path) -> None:
    async def work(client: PrefectClient) -> State[Any]:
        run = await start(client, spec(pool, "stubborn", tmp_path))
        await until_noted(tmp_path, "start")
        await client.set_flow_run_state(run.id, Cancelling())
        return await until(client, run.id, StateType.CANCELLED, StateType.CRASHED)

    assert on_server(prefect_server, work).type is StateType.CANCELLED
    wait_for(lambda: not Path(f"/proc/{pids(noted(tmp_path))[0]}/cmdline").exists(), "the process is gone")


def test_killed_run_is_crashed_and_retried_once(prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path) -> None:
    async def work(client: PrefectClient) -> list[FlowRun]:
        run = await start(client, spec(pool, "wait", tmp_path, seconds=60.0, only_first_waits=True))
        notes = await until_noted(tmp_path, "start")
        os.kill(pids(notes)[0], signal.SIGKILL)
        return await until_attempt(client, run, 2, StateType.COMPLETED)

    runs = on_server(prefect_server, work)
    assert [run.state_type for run in runs] == [StateType.CRASHED, StateType.COMPLETED]
    assert "signal 9 (SIGKILL)" in (runs[0].state.message or "")  # type: ignore[union-attr]
    assert "attempt:2" in runs[1].tags
    assert len(pids(noted(tmp_path))) == 2, "executed exactly twice in all"


def test_passing_failure_is_retried_and_lasting_one_is_not(
    prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    async def work(client: PrefectClient) -> tuple[list[FlowRun], list[FlowRun]]:
        lasting = await start(client, spec(pool, "broken", tmp_path / "b"))
        run = await start(client, spec(pool, "passing", tmp_path / "a"))
        retried = await until_attempt(client, run, 2, StateType.COMPLETED)
        await until(client, lasting.id, StateType.FAILED)
        return retried, await attempts(client, lasting)

    retried, lasting_runs = on_server(prefect_server, work)
    assert retried[0].state_name == "RetryableFailure"
    assert len(lasting_runs) == 1 and noted(tmp_path / "b") == ["start"]


def test_flow_that_cannot_be_loaded_fails_for_good(prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path) -> None:
    async def work(client: PrefectClient) -> State[Any]:
        wanted = DeploymentSpec("wait", "missing", "no_such_module:flow", {}, pool, "q-missing", 1, (OURS,))
        run = await start(client, wanted)
        return await until(client, run.id, StateType.FAILED, StateType.CRASHED)

    state = on_server(prefect_server, work)
    assert state.type is StateType.FAILED and "no_such_module" in (state.message or "")


@pytest.mark.slow
def test_run_outlives_a_server_that_is_killed_and_started_again(
    prefect_server: PrefectServer, worker: WorkerProcess, pool: str, tmp_path: Path
) -> None:
    async def begin(client: PrefectClient) -> UUID:
        run = await start(client, spec(pool, "wait", tmp_path, seconds=2.0))
        await until_noted(tmp_path, "start")
        return run.id

    flow_run_id = on_server(prefect_server, begin)
    prefect_server.kill_process()
    wait_for(lambda: any(line.startswith("end") for line in noted(tmp_path)), "the flow's work ends while the server is away")
    time.sleep(1)
    prefect_server.restart_process()

    async def end(client: PrefectClient) -> State[Any]:
        return await until(client, flow_run_id, StateType.COMPLETED, StateType.CRASHED, StateType.FAILED)

    assert on_server(prefect_server, end).type is StateType.COMPLETED
    assert len(pids(noted(tmp_path))) == 1, "executed once"


def test_run_of_a_killed_worker_ends_by_itself_and_is_not_repeated(
    prefect_server: PrefectServer, prefect_settings: Settings, tmp_path: Path
) -> None:
    pool = f"tests-{uuid4().hex[:8]}"
    with running_worker(prefect_server, prefect_settings, pool) as first:

        async def begin(client: PrefectClient) -> FlowRun:
            run = await start(client, spec(pool, "wait", tmp_path, seconds=3.0))
            await until_noted(tmp_path, "start")
            return run

        run = on_server(prefect_server, begin)
        first.kill()
        with running_worker(prefect_server, prefect_settings, pool):

            async def end(client: PrefectClient) -> tuple[State[Any], list[FlowRun]]:
                state = await until(client, run.id, StateType.COMPLETED, StateType.CRASHED)
                await asyncio.sleep(1)
                return state, await attempts(client, run)

            state, runs = on_server(prefect_server, end)
    assert state.type is StateType.COMPLETED
    assert len(runs) == 1 and len(pids(noted(tmp_path))) == 1


@pytest.mark.slow
def test_new_worker_puts_right_what_a_killed_machine_left(
    prefect_server: PrefectServer, prefect_settings: Settings, tmp_path: Path
) -> None:
    """Worker and run are killed; one more run is cancelled while there is no worker."""
    pool = f"tests-{uuid4().hex[:8]}"
    (tmp_path / "killed").mkdir()
    (tmp_path / "cancelled").mkdir()
    with running_worker(prefect_server, prefect_settings, pool) as first:

        async def begin(client: PrefectClient) -> tuple[FlowRun, FlowRun]:
            killed = await start(client, spec(pool, "wait", tmp_path / "killed", seconds=60.0, only_first_waits=True))
            cancelled = await start(client, spec(pool, "wait", tmp_path / "cancelled", seconds=60.0))
            await until_noted(tmp_path / "killed", "start")
            await until_noted(tmp_path / "cancelled", "start")
            return killed, cancelled

        killed, cancelled = on_server(prefect_server, begin)
        first.kill()
        os.kill(pids(noted(tmp_path / "killed"))[0], signal.SIGKILL)
        on_server(prefect_server, lambda client: client.set_flow_run_state(cancelled.id, Cancelling()))
        with running_worker(prefect_server, prefect_settings, pool):

            async def end(client: PrefectClient) -> tuple[list[FlowRun], State[Any]]:
                state = await until(client, cancelled.id, StateType.CANCELLED, StateType.CRASHED)
                return await until_attempt(client, killed, 2, StateType.COMPLETED), state

            runs, state = on_server(prefect_server, end)
    assert [run.state_type for run in runs] == [StateType.CRASHED, StateType.COMPLETED]
    assert len(pids(noted(tmp_path / "killed"))) == 2
    assert state.type is StateType.CANCELLED
    assert not Path(f"/proc/{pids(noted(tmp_path / 'cancelled'))[0]}/cmdline").exists()


def test_stopped_worker_ends_its_runs_and_says_so(prefect_server: PrefectServer, prefect_settings: Settings, tmp_path: Path) -> None:
    pool = f"tests-{uuid4().hex[:8]}"
    with running_worker(prefect_server, prefect_settings, pool) as worker:

        async def begin(client: PrefectClient) -> FlowRun:
            run = await start(client, spec(pool, "wait", tmp_path, seconds=60.0))
            await until_noted(tmp_path, "start")
            return run

        run = on_server(prefect_server, begin)
        started = time.monotonic()
        worker.stop()
        stopped_in = time.monotonic() - started
    state = on_server(prefect_server, lambda client: until(client, run.id, StateType.CRASHED))
    assert state.type is StateType.CRASHED
    assert stopped_in < 8, f"stopping took {stopped_in:.1f} s"


def test_two_reapers_schedule_one_retry_and_never_more_than_two(
    prefect_server: PrefectServer, prefect_settings: Settings, tmp_path: Path
) -> None:
    """Without a worker: each attempt is set to crashed by hand, as if its machine had died."""
    pool = f"tests-{uuid4().hex[:8]}"
    records = RunRecords(tmp_path)
    policy = ReaperPolicy(retry_delay_seconds=0.0)

    async def work(client: PrefectClient) -> list[FlowRun]:
        first = await start(client, spec(pool, "wait", tmp_path))
        for _ in range(5):
            for run in await attempts(client, first):
                if not run.state.is_final():  # type: ignore[union-attr]
                    dead = ProcessIdentity("vm-of-before", "another-boot", 1, 1)
                    here = ProcessIdentity(ProcessIdentity.of(os.getpid()).host, dead.boot_id, 1, 1)
                    await client.set_flow_run_state(run.id, State(type=StateType.RUNNING, name="Running"), force=True)
                    records.write(RunRecord(str(run.id), here, time.time()))
            await asyncio.gather(*(Reaper(client, records, [pool], policy).sweep() for _ in range(2)))
        return await attempts(client, first)

    runs = on_server(prefect_server, work)
    assert [run.state_type for run in runs] == [StateType.CRASHED] * 3, "the first run and two retries"
