"""What a plan would do, and whether it may: read from the plan as Terraform describes it, not from what we meant."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from brandhouse_infra.errors import InfraError
from brandhouse_shared.errors import join_bounded

Action = Literal["create", "update", "replace", "delete", "read", "nothing"]
_SAID = (("create", "to add"), ("update", "to change"), ("replace", "to replace"), ("delete", "to delete"))
_NAMES = ("bucket", "identifier", "name", "key_id", "id")


class PlanRefusedError(InfraError):
    """A plan would lose data, and nobody said that it may."""


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """One resource in a plan.

    Attributes:
        address: Such as `aws_s3_bucket.data`.
        kind: Its type.
        action: What is done to it.
        called: Its own name, for people; the address where none is known.
        why: Terraform's reason, if it gives one.
    """

    address: str
    kind: str
    action: Action
    called: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a plan.

    Attributes:
        changes: What would be done.
        drift: What differs from what was applied last; somebody changed or removed it.
    """

    changes: tuple[ResourceChange, ...]
    drift: tuple[ResourceChange, ...] = ()

    @property
    def does_something(self) -> bool:
        """Whether anything would change."""
        return any(change.action in dict(_SAID) for change in self.changes)

    def count(self, action: Action) -> int:
        """How many resources this happens to."""
        return sum(change.action == action for change in self.changes)

    def lost(self, data_bearing: Collection[str]) -> tuple[ResourceChange, ...]:
        """Resources that hold data and would be deleted, be it to be made anew."""
        return tuple(change for change in self.changes if change.kind in data_bearing and change.action in ("delete", "replace"))

    def __str__(self) -> str:
        counted = Counter(change.action for change in self.changes)
        said = [f"{counted[action]} {words}" for action, words in _SAID if counted[action]]  # type: ignore[index]
        return ", ".join(said) or "no changes"


def read_plan(document: dict[str, Any]) -> Plan:
    """Read a plan from the output of `terraform show -json`."""
    changes = tuple(_changes(document.get("resource_changes", ())))
    drift = tuple(change for change in _changes(document.get("resource_drift", ())) if change.action in ("update", "delete", "replace"))
    return Plan(changes, drift)


def check_plan(plan: Plan, *, tenant: str, leaving: bool, confirmed: str, data_bearing: Collection[str]) -> None:
    """Refuse a plan that loses data, unless the brand is leaving and its name was typed.

    Args:
        plan: What would be done.
        tenant: The brand's name.
        leaving: Whether `brand.toml` says that the brand leaves.
        confirmed: What was typed after `--confirm`.
        data_bearing: Types of resources that hold data.

    Raises:
        PlanRefusedError: Saying what would be lost.
    """
    lost = plan.lost(data_bearing)
    if not lost:
        return
    listed = "".join(f"\n  - {change.action} {change.address} ({change.called})" for change in lost)
    if not leaving:
        raise PlanRefusedError(
            f"{tenant}: refused, nothing was done. This plan would lose data:{listed}\n"
            "  Undo what asks for it; or, if the brand leaves the house, say so by `leaving = true` in its brand.toml"
        )
    if confirmed != tenant:
        raise PlanRefusedError(
            f"{tenant}: refused, nothing was done. This plan ends what holds data:{listed}\n  To agree, add --confirm {tenant}"
        )


def describe(changes: Collection[ResourceChange]) -> str:
    """Changes for a sentence; bounded."""
    return join_bounded(f"{change.action} {change.address}" for change in changes)


def _changes(listed: Collection[dict[str, Any]]) -> Iterator[ResourceChange]:
    for one in listed:
        if one.get("mode") == "managed":
            change = one["change"]
            yield ResourceChange(
                one["address"], one["type"], _action(change["actions"]), _called(one, change), one.get("action_reason", "")
            )


def _action(actions: list[str]) -> Action:
    known: dict[tuple[str, ...], Action] = {
        ("create",): "create",
        ("update",): "update",
        ("delete",): "delete",
        ("read",): "read",
        ("no-op",): "nothing",
    }
    # Anything else deletes: delete and create in either order, and `forget`, after which nobody looks after it.
    return known.get(tuple(actions), "replace")


def _called(one: dict[str, Any], change: dict[str, Any]) -> str:
    values = change.get("before") or change.get("after") or {}
    return next((str(values[name]) for name in _NAMES if values.get(name)), str(one["address"]))
