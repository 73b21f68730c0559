"""Steps of a template as Prefect tasks, tried again only for a passing fault."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from brandhouse_shared.errors import RetryableError

T = TypeVar("T")
STEP_RETRIES = 2
STEP_RETRY_SECONDS = 5.0
RETRYABLE_FAILURE = "RetryableFailure"
"""Name of the state of a run that failed for a passing reason: whoever watches the runs may start it again."""


def run_as_task(name: str, function: Callable[..., T], *arguments: Any) -> T:
    """Carry out a step as a Prefect task that is tried again only for a passing fault.

    The task takes no arguments: Prefect would look through every frame for futures, and hash it for a cache.
    """

    @task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=STEP_RETRIES,
        retry_delay_seconds=STEP_RETRY_SECONDS,
        retry_condition_fn=_is_retryable,
    )
    def run_step() -> Any:
        return function(*arguments)

    return cast(T, run_step())


def _is_retryable(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except RetryableError:
        return True
    except Exception:  # any other failure is final; the task raises it itself
        return False
    return False
