"""The rules of stage changes, without a database.

A version's stage is that of its latest stage event. At most one version of a model is in production.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from brandhouse_shared.errors import GateError, StageChangeError
from brandhouse_shared.names import VersionKey


class Stage(StrEnum):
    """How far a version is on its way."""

    CANDIDATE = "candidate"
    """Registered; answers nobody."""
    SHADOW = "shadow"
    """Sees production's requests; its answers are only recorded."""
    CANARY = "canary"
    """Answers a share of the requests; at most one version of a model does."""
    PRODUCTION = "production"
    """Answers all requests but the canary's."""
    RETIRED = "retired"
    """Answers nobody any more; a promotion or rollback brings it back, a trial lets it be looked at beside production."""


DEFAULT_SHARE = 0.1
"""Of the requests, for a canary that was promoted without one: harm reaches few, and a day's requests still say something."""


class Cause(StrEnum):
    """What led to a stage event. Delivery metrics count promotions and rollbacks by it."""

    REGISTERED = "registered"
    CHANGED = "changed"
    """Asked for by name: a promotion, a shadow, a retirement."""
    REPLACED = "replaced"
    """Left production because another version entered it, in the same transaction."""
    ROLLED_BACK = "rolled_back"
    """Entered production again because of a rollback."""


_ALLOWED: dict[Stage, tuple[Stage, ...]] = {
    Stage.CANDIDATE: (Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED),
    Stage.SHADOW: (Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED),
    Stage.CANARY: (Stage.SHADOW, Stage.PRODUCTION, Stage.RETIRED),
    Stage.PRODUCTION: (Stage.RETIRED,),
    Stage.RETIRED: (Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION),
}


class ProductionEntry(Protocol):
    """One entry of a version into production."""

    @property
    def number(self) -> int:
        """The version's number."""

    @property
    def cause(self) -> str:
        """A `Cause`."""


def check_reason(subject: object, actor: str, reason: str) -> None:
    """Refuse a change that does not say who and why.

    Raises:
        StageChangeError: If actor or reason is empty.
    """
    for what, text in (("an actor", actor), ("a reason", reason)):
        if not text.strip():
            raise StageChangeError(f"{subject}: a stage change needs {what}, so that it can be asked about later; none was given")


def check_change(version: VersionKey, present: Stage, to: Stage, *, share_differs: bool = False) -> None:
    """Refuse a stage change that does not start from an allowed stage.

    Args:
        version: Which is to change.
        present: Its stage now.
        to: Its stage afterwards; canary may follow canary with another share.
        share_differs: Whether the share afterwards is another one.

    Raises:
        StageChangeError: If `to` cannot follow `present`.
    """
    if to is present is Stage.CANARY and share_differs:
        return
    if to is present:
        raise StageChangeError(f"{version} is already in stage {present}; nothing was changed")
    if to not in _ALLOWED[present]:
        allowed = ", ".join(_ALLOWED[present])
        raise StageChangeError(f"{version} is in stage {present} and cannot go to {to}; allowed from there: {allowed}")


def share_of_change(version: VersionKey, to: Stage, share: float | None) -> float | None:
    """Return the share that is recorded with a change: the given or the default one for a canary, None otherwise.

    Raises:
        StageChangeError: If it is given for another stage, or is not between 0 and 1.
    """
    if to is not Stage.CANARY:
        if share is not None:
            raise StageChangeError(f"{version}: a share is for canary, not for {to}; leave it out")
        return None
    if share is not None and not 0 < share < 1:
        raise StageChangeError(
            f"{version}: a canary's share is above 0 and below 1, such as 0.1, not {share:g}; for all requests promote it"
        )
    return DEFAULT_SHARE if share is None else share


def check_only_canary(version: VersionKey, present: int | None) -> None:
    """Refuse a second canary of a model.

    Args:
        version: Which is to be canary.
        present: Number of the model's canary; None: it has none.

    Raises:
        StageChangeError: If another version is canary.
    """
    if present not in (None, version.number):
        raise StageChangeError(
            f"{version} cannot be canary beside v{present}, which is: a model has one at most; end that one with "
            f"`brandhouse retire {version.model_key} --version v{present}`, or promote it"
        )


def check_gates(version: VersionKey, to: Stage, gates_passed: bool, force: bool, failed: Sequence[str]) -> None:
    """Refuse production for a version whose gates failed, unless it is forced.

    Raises:
        GateError: If they failed and `force` is not set.
    """
    if to is Stage.PRODUCTION and not gates_passed and not force:
        names = ", ".join(failed) or "unnamed"
        raise GateError(f"{version} did not pass its gates ({names}) and may not go to production; train again, or force it with a reason")


def previous_production(entries: Sequence[ProductionEntry], present: int | None) -> int | None:
    """Find the version that a rollback without a number returns to.

    Rollbacks undo promotions like a stack, so that two rollbacks in a row go two versions back and never return to
    the version that was just rolled back. A model whose production version was retired gets that version again.

    Args:
        entries: All entries into production of one model, oldest first.
        present: The version in production now, None if there is none.
    """
    stack: list[int] = []
    for entry in entries:
        if entry.cause == Cause.ROLLED_BACK and entry.number in stack:
            del stack[_last_index(stack, entry.number) :]
        stack.append(entry.number)
    if present is not None and stack and stack[-1] == present:
        stack.pop()
    return stack[-1] if stack else None


def _last_index(numbers: Sequence[int], number: int) -> int:
    return len(numbers) - 1 - list(reversed(numbers)).index(number)
