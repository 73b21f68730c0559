"""Prefect's flow engines, which here write down how a run ended before they tell the server.

Only Prefect's engine knows the final state before it is sent, so it is the engine that is extended.
"""

from typing import Any, Generic
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from prefect.flow_engine import AsyncFlowRunEngine, FlowRunEngine, P, R

from brandhouse_flows.run_records import FinalState, RunRecords
from brandhouse_flows.warm_child import RETRYABLE_FAILURE
from brandhouse_shared.errors import RetryableError


class _Journal:
    """Writes the states of one run, and only of that one: sub-flows use the same engine."""

    def __init__(self, records: RunRecords, flow_run_id: UUID) -> None:
        self.records = records
        self.flow_run_id = flow_run_id
        self.failure: BaseException | None = None

    def propose(self, engine: Any, state: State[Any]) -> State[Any]:
        """Note a state that is about to be sent; return it, renamed if the failure is a passing one."""
        if not self._is_about(engine) or not state.is_final():
            return state
        retry_after = None
        if state.type is StateType.FAILED and isinstance(self.failure, RetryableError):
            retry_after = self.failure.retry_after_seconds
            state = state.model_copy(update={"name": RETRYABLE_FAILURE})
        final = FinalState(state.type.value, state.name or state.type.value.title(), (state.message or "")[:2000], retry_after)
        self.records.change(self.flow_run_id, final=final, is_reported=False)
        return state

    def accept(self, engine: Any, state: State[Any]) -> None:
        """Note what the server made of it: another attempt within the process is no end."""
        if not self._is_about(engine):
            return
        if state.is_final():
            self.records.change(self.flow_run_id, is_reported=True)
        elif state.is_scheduled():
            self.records.change(self.flow_run_id, final=None)

    def is_cancelled(self, engine: Any) -> bool:
        """Whether the signal that ended the run came from a user who cancelled it."""
        return self._is_about(engine) and self.records.is_asked_to_cancel(self.flow_run_id)

    def _is_about(self, engine: Any) -> bool:
        return engine.flow_run is not None and engine.flow_run.id == self.flow_run_id


def recorded_engines(records: RunRecords, flow_run_id: UUID) -> tuple[type[FlowRunEngine[Any, Any]], type[AsyncFlowRunEngine[Any, Any]]]:
    """The engines for synchronous and asynchronous flows that record the end of this run."""
    journal = _Journal(records, flow_run_id)

    class RecordedEngine(FlowRunEngine[P, R], Generic[P, R]):
        def set_state(self, state: State[Any], force: bool = False) -> State[Any]:
            accepted = super().set_state(journal.propose(self, state), force)
            journal.accept(self, accepted)
            return accepted

        def handle_exception(self, exc: Exception, *rest: Any, **named: Any) -> State[Any]:
            journal.failure = exc
            return super().handle_exception(exc, *rest, **named)

        def handle_crash(self, exc: BaseException) -> None:
            if journal.is_cancelled(self):
                return self.handle_cancellation(exc)
            return super().handle_crash(exc)

    class RecordedAsyncEngine(AsyncFlowRunEngine[P, R], Generic[P, R]):
        async def set_state(self, state: State[Any], force: bool = False) -> State[Any]:
            accepted = await super().set_state(journal.propose(self, state), force)
            journal.accept(self, accepted)
            return accepted

        async def handle_exception(self, exc: Exception, *rest: Any, **named: Any) -> State[Any]:
            journal.failure = exc
            return await super().handle_exception(exc, *rest, **named)

        async def handle_crash(self, exc: BaseException) -> None:
            if journal.is_cancelled(self):
                return await self.handle_cancellation(exc)
            return await super().handle_crash(exc)

    return RecordedEngine, RecordedAsyncEngine
