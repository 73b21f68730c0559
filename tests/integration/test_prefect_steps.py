"""A step as a Prefect task: tried again for a passing fault only."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from brandhouse_flows import prefect_steps
from brandhouse_flows.prefect_steps import run_as_task
from brandhouse_shared.errors import DatasetError, RetryableError

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


class Attempts:
    """Fails a few times, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.count = 0

    def __call__(self, *arguments: Any) -> Any:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return arguments


def in_a_flow(function: Any, *arguments: Any) -> Any:
    @flow
    def one_step() -> Any:
        return run_as_task("step", function, *arguments)

    return one_step()


def test_passing_fault_is_tried_again_and_a_final_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_steps, "STEP_RETRY_SECONDS", 0.01)
    passing = Attempts(RetryableError("the disk is full"))
    assert in_a_flow(passing, 1, "a") == (1, "a"), "arguments and the answer pass through as they are"
    assert passing.count == 2
    final = Attempts(DatasetError("no such file"))
    with pytest.raises(DatasetError, match="no such file"):
        in_a_flow(final)
    assert final.count == 1
    lasting = Attempts(*[RetryableError("the disk is full")] * 9)
    with pytest.raises(RetryableError):
        in_a_flow(lasting)
    assert lasting.count == prefect_steps.STEP_RETRIES + 1
