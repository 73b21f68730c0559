"""Puts flow runs whose process has ended into a true state, and gives crashed ones another, bounded chance.

Prefect leaves a run "Running" for ever when its machine dies, and a crashed one is not retried. The state comes from
what the run's own process wrote (`run_records`); a run is called crashed only if its process is known to have ended, so
that a mere outage of the server never crashes a live run.
"""

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.states import Scheduled

from brandhouse_flows.processes import ProcessIdentity, kill_leftovers, signal_group
from brandhouse_flows.run_records import FinalState, RunRecord, RunRecords
from brandhouse_flows.warm_child import RETRYABLE_FAILURE

UNFINISHED = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
ATTEMPT_TAG = "attempt:"
RETRY_TAG = "retry-of:"
POLL_SECONDS = 0.05
EXIT_NOTE_SECONDS = 0.5
PAGE = 200


@dataclass(frozen=True, slots=True)
class ReaperPolicy:
    """How long to wait for what, and how often to try again."""

    max_retries: int = 2
    """New runs after the first one crashed."""

    retry_delay_seconds: float = 10.0
    """Before the first retry; doubles with each."""

    cancel_grace_seconds: float = 15.0
    """Between asking a cancelled run to stop and killing it."""

    unstarted_seconds: float = 60.0
    """After this, a pending run for which nobody has started a process will not start any more."""

    foreign_offline_seconds: float = 120.0
    """After this without a sign of another host's worker, its runs count as crashed. Prefect's heartbeat is every 30 s."""

    lookback_hours: float = 24.0
    """Older crashes are not retried: a machine that was off for a week should not repeat what nobody waits for."""


@dataclass(frozen=True, slots=True)
class Settled:
    """One thing that was put right."""

    flow_run_id: UUID
    name: str
    state: str
    """The state that was set, or `retry` for a run that was scheduled."""


@dataclass
class Reaper:
    """Looks after the runs of some pools, from this host."""

    client: PrefectClient
    records: RunRecords
    pools: Sequence[str]
    policy: ReaperPolicy = ReaperPolicy()
    is_supervised: Callable[[UUID], bool] = lambda _: False
    """Whether this process is starting or watching the run itself, so that its end needs no looking for."""

    _reachable_since: float | None = None
    _considered: set[UUID] = field(default_factory=set)
    _cancelling: set[UUID] = field(default_factory=set)

    async def watch(self, every_seconds: float) -> None:
        """Sweep for ever; the server may be away meanwhile."""
        logger = get_logger("brandhouse.reaper")
        async with anyio.create_task_group() as cancellations:
            while True:
                try:
                    for settled in await self.sweep(cancellations):
                        logger.info("%s: %s", settled.name, settled.state)
                except httpx.HTTPError as error:
                    logger.debug("the server is away: %r", error)
                await anyio.sleep(every_seconds)

    async def sweep(self, cancellations: Any = None) -> list[Settled]:
        """Look at every unfinished and every lately crashed run once.

        Args:
            cancellations: A task group in which cancelled runs are ended meanwhile; without one they are waited for.

        Raises:
            httpx.HTTPError: If the server is away. Nothing is lost, the next sweep finds the same.
        """
        try:
            unfinished = await self._runs(state_types=UNFINISHED)
            crashed = await self._crashed_runs()
        except httpx.HTTPError:
            self._reachable_since = None
            raise
        if self._reachable_since is None:
            self._reachable_since = time.time()
        settled = [await self._examine(run, cancellations) for run in unfinished]
        settled += [await self.retry(run) for run in crashed]
        return [one for one in settled if one is not None]

    async def _runs(
        self, state_types: Sequence[StateType], names: Sequence[str] = (), ended_after: datetime | None = None
    ) -> list[FlowRun]:
        state = FlowRunFilterState(
            type=FlowRunFilterStateType(any_=list(state_types)),
            name=FlowRunFilterStateName(any_=list(names)) if names else None,
        )
        return await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state, end_time=FlowRunFilterEndTime(after_=ended_after) if ended_after else None),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(self.pools))),
            sort=FlowRunSort.START_TIME_DESC,
            limit=PAGE,
        )

    async def _crashed_runs(self) -> list[FlowRun]:
        since = datetime.now(UTC) - timedelta(hours=self.policy.lookback_hours)
        crashed = await self._runs([StateType.CRASHED, StateType.FAILED], names=["Crashed", RETRYABLE_FAILURE], ended_after=since)
        return [run for run in crashed if run.id not in self._considered]

    async def _examine(self, run: FlowRun, cancellations: Any) -> Settled | None:
        record = self.records.read(run.id)
        process = record.process if record else ProcessIdentity.parse(run.infrastructure_pid)
        if process is None:
            return await self._examine_unstarted(run)
        if not process.is_local:
            return await self._examine_foreign(run, process)
        if process.is_alive():
            return await self._cancel_if_asked(run, process, cancellations)
        if self.is_supervised(run.id) or _is_older_than_state(record, run):
            return await self._examine_unstarted(run)
        return await self.settle(run.id)

    async def _examine_unstarted(self, run: FlowRun) -> Settled | None:
        """A run that somebody took and nobody started: the worker died in between."""
        started_elsewhere = run.infrastructure_pid is not None and ProcessIdentity.parse(run.infrastructure_pid) is None
        if started_elsewhere or self.is_supervised(run.id) or not self._is_quiet_for(run, self.policy.unstarted_seconds):
            return None
        return await self._set(run, FinalState("CRASHED", "Crashed", "No process was started: the worker that took the run ended before."))

    async def _examine_foreign(self, run: FlowRun, process: ProcessIdentity) -> Settled | None:
        for pool in self.pools:
            for worker in await self.client.read_workers_for_work_pool(pool):
                seen = worker.last_heartbeat_time
                if worker.name.endswith(f"@{process.host}") and seen and self._is_silent_since(seen.timestamp()):
                    message = f"Host {process.host} has not been heard of since {seen:%Y-%m-%d %H:%M:%S} UTC."
                    return await self._set(run, FinalState("CRASHED", "Crashed", message))
        return None

    def _is_quiet_for(self, run: FlowRun, seconds: float) -> bool:
        since = run.state.timestamp.timestamp() if run.state else 0.0
        return time.time() - max(since, self._reachable_since or time.time()) > seconds

    def _is_silent_since(self, seen: float) -> bool:
        """Whether that is long enough ago. Time in which the server itself was away does not count."""
        return time.time() - max(seen, self._reachable_since or time.time()) > self.policy.foreign_offline_seconds

    async def _cancel_if_asked(self, run: FlowRun, process: ProcessIdentity, cancellations: Any) -> Settled | None:
        if run.state_type is not StateType.CANCELLING or run.id in self._cancelling:
            return None
        self._cancelling.add(run.id)
        if cancellations is None:
            await self._cancel(run.id, process)
        else:
            cancellations.start_soon(self._cancel, run.id, process)
        return Settled(run.id, run.name, "is being cancelled")

    async def _cancel(self, flow_run_id: UUID, process: ProcessIdentity) -> None:
        try:
            self.records.ask_to_cancel(flow_run_id)
            await end_group(process, self.policy.cancel_grace_seconds)
            with contextlib.suppress(httpx.HTTPError):  # the next sweep settles it
                await self.settle(flow_run_id)
        finally:
            self._cancelling.discard(flow_run_id)

    async def settle(self, flow_run_id: UUID) -> Settled | None:
        """Give a run of this host whose process has ended its true state, if the server does not know it yet.

        Raises:
            httpx.HTTPError: If the server is away.
        """
        record = self.records.read(flow_run_id)
        if record is not None:
            if record.process.is_alive():
                return None  # it was started twice, and the second one has given way to this one
            kill_leftovers(record.process)
            remove_folder(self.records, flow_run_id)
            if record.final is not None and record.is_reported:
                return None
        try:
            run = await self.client.read_flow_run(flow_run_id)
        except ObjectNotFound:
            return None
        if record is not None and record.final is None:
            await self._wait_for_exit_note(flow_run_id)
        return await self._set(run, _true_state(run, record, self.records.read_exit(flow_run_id)))

    async def _wait_for_exit_note(self, flow_run_id: UUID) -> None:
        """The parent sees the end of a process a moment after it can be seen in /proc; it may also have gone."""
        deadline = time.monotonic() + EXIT_NOTE_SECONDS
        while not self.records.read_exit(flow_run_id) and time.monotonic() < deadline:
            await anyio.sleep(POLL_SECONDS)

    async def _set(self, run: FlowRun, final: FinalState) -> Settled | None:
        if run.state_type not in UNFINISHED:
            return None
        state = State[Any](type=StateType(final.type), name=final.name, message=final.message)
        await self.client.set_flow_run_state(run.id, state, force=True)
        self.records.change(run.id, final=final, is_reported=True)
        return Settled(run.id, run.name, final.name)

    async def retry(self, run: FlowRun) -> Settled | None:
        """Schedule a new run of the same deployment, unless it had all its attempts. The same one however often it is called."""
        attempt = attempt_of(run.tags) + 1
        if run.deployment_id is not None and attempt <= self.policy.max_retries + 1:
            try:
                await self._schedule(run, run.deployment_id, attempt)
            except ObjectNotFound:  # the deployment was removed meanwhile
                self._considered.add(run.id)
                return None
        self._considered.add(run.id)
        return Settled(run.id, run.name, "retry") if attempt <= self.policy.max_retries + 1 else None

    async def _schedule(self, run: FlowRun, deployment_id: UUID, attempt: int) -> None:
        first = next((tag.removeprefix(RETRY_TAG) for tag in run.tags if tag.startswith(RETRY_TAG)), str(run.id))
        kept = [tag for tag in run.tags if not tag.startswith((ATTEMPT_TAG, RETRY_TAG))]
        await self.client.create_flow_run_from_deployment(
            deployment_id,
            parameters=run.parameters,
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(seconds=self._delay_seconds(run, attempt))),
            name=f"{run.name.split(' (attempt')[0]} (attempt {attempt})",
            tags=[*kept, f"{ATTEMPT_TAG}{attempt}", f"{RETRY_TAG}{first}"],
            idempotency_key=f"brandhouse-retry:{first}:{attempt}",
        )

    def _delay_seconds(self, run: FlowRun, attempt: int) -> float:
        delay = self.policy.retry_delay_seconds * 2.0 ** (attempt - 2)
        record = self.records.read(run.id)
        asked = record.final.retry_after_seconds if record and record.final else None
        return max(delay, asked or 0.0)


def attempt_of(tags: Sequence[str]) -> int:
    """Which attempt a run is, by its tags; the first has none."""
    numbers = [tag.removeprefix(ATTEMPT_TAG) for tag in tags if tag.startswith(ATTEMPT_TAG)]
    return max((int(number) for number in numbers if number.isdigit()), default=1)


async def end_group(process: ProcessIdentity, grace_seconds: float) -> None:
    """Ask a run's process and all it started to stop; kill what is left after the grace."""
    signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while process.is_alive() and time.monotonic() < deadline:
        await anyio.sleep(POLL_SECONDS)
    signal_group(process, signal.SIGKILL)
    while process.is_alive():
        await anyio.sleep(POLL_SECONDS)
    kill_leftovers(process)


def remove_folder(records: RunRecords, flow_run_id: object) -> None:
    """Remove the temporary folder of a run whose process has ended."""
    shutil.rmtree(records.work_dir(flow_run_id), ignore_errors=True)


def _is_older_than_state(record: RunRecord | None, run: FlowRun) -> bool:
    """Whether the record is of an earlier execution of a run that was taken up again and has no process yet."""
    is_pending = run.state_type is StateType.PENDING and run.state is not None
    return is_pending and record is not None and run.state is not None and record.started_at < run.state.timestamp.timestamp()


def _true_state(run: FlowRun, record: RunRecord | None, exit_note: str) -> FinalState:
    final = record.final if record else None
    if run.state_type is StateType.CANCELLING and (final is None or final.type != "COMPLETED"):
        return FinalState("CANCELLED", "Cancelled", "The run was cancelled and its process has ended.")
    if final is not None:
        return final
    return FinalState("CRASHED", "Crashed", f"The process of the run has ended without a result ({exit_note or 'nobody saw how'}).")
