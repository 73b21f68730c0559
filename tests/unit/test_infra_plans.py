"""Plans: what they would do, what is refused, and what an apply has done when it stops half-way."""

import json
from typing import Any

import pytest

from brandhouse_infra.apply_events import read_events
from brandhouse_infra.plans import PlanRefusedError, check_plan, read_plan
from brandhouse_infra.terraform import CredentialsError, StateLockedError, StoreDownError, TerraformError, failure

DATA = frozenset({"aws_s3_bucket"})


def _plan(*changes: tuple[str, list[str]]) -> Any:
    listed = [
        {
            "address": address,
            "type": address.partition(".")[0],
            "mode": "managed",
            "change": {"actions": actions, "before": {"bucket": "b"}},
        }
        for address, actions in changes
    ]
    return read_plan({"resource_changes": listed})


def _check(plan: Any, *, leaving: bool = False, confirmed: str = "") -> None:
    check_plan(plan, tenant="casa", leaving=leaving, confirmed=confirmed, data_bearing=DATA)


@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"], ["forget"]])
def test_the_end_of_what_holds_data_is_refused_and_named(actions: list[str]) -> None:
    with pytest.raises(PlanRefusedError, match=r"aws_s3_bucket.data \(b\)"):
        _check(_plan(("aws_s3_bucket.data", actions)))


def test_of_a_leaving_brand_the_name_must_be_typed() -> None:
    plan = _plan(("aws_s3_bucket.data", ["delete"]))
    for typed in ("", "Casa", "casa ", "villa", "yes"):
        with pytest.raises(PlanRefusedError, match="--confirm casa"):
            _check(plan, leaving=True, confirmed=typed)
    _check(plan, leaving=True, confirmed="casa")


def test_typing_the_name_is_not_enough_for_a_brand_that_stays() -> None:
    with pytest.raises(PlanRefusedError, match="leaving = true"):
        _check(_plan(("aws_s3_bucket.data", ["delete"])), confirmed="casa")


def test_what_holds_no_data_may_go_and_what_does_may_change() -> None:
    _check(_plan(("aws_cloudwatch_metric_alarm.x", ["delete"]), ("aws_s3_bucket.data", ["update"]), ("aws_s3_bucket.logs", ["no-op"])))


def test_a_plan_counts_what_it_would_do() -> None:
    plan = _plan(("a.b", ["create"]), ("a.c", ["delete", "create"]), ("a.d", ["no-op"]), ("a.e", ["update"]))
    assert str(plan) == "1 to add, 1 to change, 1 to replace"
    assert plan.does_something and not _plan(("a.d", ["no-op"]), ("a.f", ["read"])).does_something


def test_events_tell_what_was_done_even_if_the_last_line_was_cut() -> None:
    done = {"type": "apply_complete", "hook": {"resource": {"addr": "aws_kms_key.own"}}}
    wrong = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "no", "address": "aws_s3_bucket.data"}}
    progress = read_events(f'{json.dumps(done)}\n{json.dumps(wrong)}\n{{"type": "apply_comp')
    assert progress.done == ("aws_kms_key.own",)
    assert progress.errors == "Error: aws_s3_bucket.data no"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error: Error acquiring the state lock\nLock Info:\n  ID:        4711-x", StateLockedError),
        ("Error: No valid credential sources found", CredentialsError),
        ("Error: api error AccessDenied: no", CredentialsError),
        ('Error: Get "http://127.0.0.1:1": dial tcp: connect: connection refused', StoreDownError),
        ("Error: Unsupported argument", TerraformError),
    ],
)
def test_what_terraform_says_becomes_an_error_that_says_what_to_do(said: str, kind: type[Exception]) -> None:
    error = failure("casa", "plan", said)
    assert type(error) is kind and "casa" in str(error), error
    assert kind is not StateLockedError or ("4711-x" in str(error) and "stuck-lock.md" in str(error))
