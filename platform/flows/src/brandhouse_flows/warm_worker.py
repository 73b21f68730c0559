"""The worker type that executes flow runs in processes forked from a warm parent.

Importing is what costs time in a run, so it is done once. Runs share the warm parent's modules and nothing else: each
has its own process group, temporary folder and environment, and sees no other brand's secrets.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.abc
import anyio.to_thread
import httpx
from prefect.states import Scheduled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from brandhouse_flows.brand_roles import borrow_secrets
from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_flows.connection import outlast_outages
from brandhouse_flows.processes import ProcessIdentity, hide_from_siblings, plain_environment
from brandhouse_flows.reaper import Reaper, ReaperPolicy, end_group
from brandhouse_flows.run_records import RunRecords
from brandhouse_flows.warm_child import ForkRequest
from brandhouse_flows.warm_parent import WarmParent
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.declarations import SECRET_PREFIX
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

WORKER_TYPE = "brandhouse-warm"

POLL_SECONDS = 0.25
POLL_SHARE = 0.25
"""Polling takes at most about this share of the time, however many queues the server must look through."""

LONGEST_POLL_SECONDS = 2.0

IDLE_AFTER_SECONDS = 15.0
IDLE_POLL_SECONDS = 1.0
"""Who has had nothing to do for a while asks less often: asking costs the server more than the worker."""

SWEEP_SECONDS = 2.0
STOP_GRACE_SECONDS = 3.0
WATCH_SECONDS = 0.03
LONGEST_WAIT_SECONDS = 2.0


def shared_environment(source: Mapping[str, str]) -> dict[str, str]:
    """What every run may see: the plain variables, Prefect's settings, and ours without any secret."""
    ours = {
        name: value
        for name, value in source.items()
        if name.startswith(("PREFECT_", "BRANDHOUSE_")) and not name.startswith((SECRET_PREFIX, "PREFECT__"))
    }
    return {**plain_environment(source), **ours}


class WarmJobConfiguration(BaseJobConfiguration):
    """Nothing but Prefect's own: what a run needs is in its parameters."""


class WarmVariables(BaseVariables):
    """Nothing but Prefect's own."""


class WarmWorkerResult(BaseWorkerResult):
    """How a run's process ended. Always well: its state is set from its record."""


class WarmWorker(BaseWorker[WarmJobConfiguration, WarmVariables, WarmWorkerResult]):
    """Executes each flow run in a process forked from a warm parent, and puts right what died."""

    type = WORKER_TYPE
    job_configuration = WarmJobConfiguration
    job_configuration_variables = WarmVariables
    _display_name = "Brandhouse warm"
    _description = "Executes flow runs in processes forked from a parent that has imported everything."
    _documentation_url = ""
    _logo_url = ""

    settings: Settings | None = None
    """Where it runs; read from the environment if not given."""

    policy = ReaperPolicy()
    is_lean = False
    sweep_seconds = SWEEP_SECONDS
    poll_seconds = POLL_SECONDS

    def __init__(self, work_pool_name: str, work_queues: list[str] | None = None, name: str | None = None, **named: Any) -> None:
        super().__init__(work_pool_name, work_queues, name or worker_name(work_pool_name), **named)

    async def setup(self) -> None:
        """Warm up, then start looking after the pool's runs."""
        outlast_outages(LONGEST_WAIT_SECONDS)
        hide_from_siblings()
        self._settings = self.settings or load_settings()
        self._home, self._brands_dir = self._settings.home, self._settings.brands_dir
        self._prefetch_seconds = 0.0  # a run that is due later, a retry above all, must not start before
        self._secrets = {name: value for name, value in os.environ.items() if name.startswith(SECRET_PREFIX)}
        self._supervised: set[UUID] = set()
        self._next_poll = 0.0
        self._busy_at = time.monotonic()
        self.records = RunRecords(self._home)
        self.records.prune()
        # Prefect's settings as they are now: a profile or a command line may have set what the environment does not.
        self._shared_environment = {**shared_environment(os.environ), **self.job_configuration._base_environment()}
        self._warm_parent = WarmParent(self._shared_environment, self.is_lean)
        await self._warm_parent.warm_up()
        await super().setup()
        self.reaper = Reaper(self.client, self.records, [self._work_pool_name], self.policy, self._is_supervised)
        if self._runs_task_group is not None:
            self._runs_task_group.start_soon(self.reaper.watch, self.sweep_seconds)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the runs and say truly how they ended."""
        if self._runs_task_group is not None:
            self._runs_task_group.cancel_scope.cancel()
        await super().teardown(*exc_info)
        self._warm_parent.close()

    async def get_and_submit_flow_runs(self) -> list["FlowRun"]:
        """Ask for runs: not while all places are taken, and less often while idle or where the answer takes long."""
        now = time.monotonic()
        if now < self._next_poll or (self._limiter is not None and self._limiter.available_tokens < 1):
            return []
        submitted = await super().get_and_submit_flow_runs()
        if submitted:
            self._busy_at = now
        pause = min((time.monotonic() - now) / POLL_SHARE, LONGEST_POLL_SECONDS)
        is_idle = not self._supervised and now - self._busy_at > IDLE_AFTER_SECONDS
        self._next_poll = now + max(pause, IDLE_POLL_SECONDS if is_idle else self.poll_seconds)
        return submitted

    async def _propose_submitting_state(self, flow_run: "FlowRun") -> None:
        """Leave out a state between pending and running that lasts 50 ms and takes half of them to set."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Leave out labels that nobody reads: the run's infrastructure id names host and process."""

    def _is_supervised(self, flow_run_id: UUID) -> bool:
        return flow_run_id in self._supervised or flow_run_id in self._submitting_flow_run_ids

    async def run(
        self, flow_run: "FlowRun", configuration: WarmJobConfiguration, task_status: anyio.abc.TaskStatus[Any] | None = None
    ) -> WarmWorkerResult:
        """Execute one flow run and wait for its end."""
        self._supervised.add(flow_run.id)
        try:
            self.records.forget(flow_run.id)
            process = await self._fork(flow_run, configuration)
            if task_status is not None:
                task_status.started(str(process))
            await self._watch(flow_run, process)
        finally:
            self._supervised.discard(flow_run.id)
            self._busy_at, self._next_poll = time.monotonic(), 0.0
        return WarmWorkerResult(status_code=0, identifier=str(process))

    async def _fork(self, flow_run: "FlowRun", configuration: WarmJobConfiguration) -> ProcessIdentity:
        try:
            # In a thread: a brand's role is asked for over the network.
            request = await anyio.to_thread.run_sync(self._request, flow_run, configuration)
            return await self._warm_parent.fork(request)
        except anyio.get_cancelled_exc_class():
            # Nothing was started, so the next worker may simply take the run.
            with anyio.move_on_after(STOP_GRACE_SECONDS, shield=True), contextlib.suppress(httpx.HTTPError):
                await self.client.set_flow_run_state(
                    flow_run.id, Scheduled(message="The worker was stopped before it started the run."), force=True
                )
            raise

    def _request(self, flow_run: "FlowRun", configuration: WarmJobConfiguration) -> ForkRequest:
        environment = {**self._shared_environment, **{name: value for name, value in configuration.env.items() if value is not None}}
        brand = flow_run.parameters.get("brand")
        if isinstance(brand, str):
            known = [folder.name for folder in brand_folders(self._brands_dir)]
            environment |= borrow_secrets(brand, known, self._settings) | secrets_of(brand, known, self._secrets)
        deployment = configuration._related_objects.get("deployment")
        if deployment is not None and is_module_path(deployment.entrypoint):
            environment["PREFECT__FLOW_ENTRYPOINT"] = deployment.entrypoint
        return ForkRequest(str(flow_run.id), str(self._home), environment)

    async def _watch(self, flow_run: "FlowRun", process: ProcessIdentity) -> None:
        try:
            while process.is_alive():
                await anyio.sleep(WATCH_SECONDS)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await end_group(process, STOP_GRACE_SECONDS)
                with anyio.move_on_after(STOP_GRACE_SECONDS):
                    await self._settle(flow_run.id)
            raise
        await self._settle(flow_run.id)

    async def _settle(self, flow_run_id: UUID) -> None:
        try:
            await self.reaper.settle(flow_run_id)
        except httpx.HTTPError as error:
            self._logger.warning("the server is away (%r); the end of run %s is reported later", error, flow_run_id)


def is_module_path(entrypoint: str | None) -> bool:
    """Whether an entry point names a module (`package.module:flow`) and not a file."""
    module, colon, flow = (entrypoint or "").partition(":")
    return bool(colon) and flow.isidentifier() and not module.endswith(".py") and all(part.isidentifier() for part in module.split("."))


def worker_name(pool: str) -> str:
    """One name a pool and host: a worker that is started again takes the place of the one before."""
    return f"{pool}@{socket.gethostname()}"
