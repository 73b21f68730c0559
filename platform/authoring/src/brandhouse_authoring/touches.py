"""What a change means for a brand: which actions it needs, and why."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from brandhouse_shared.errors import join_bounded

NAMED_CAUSES = 3


class Action(StrEnum):
    """What may have to be done for a brand after a change, in this order.

    `test`: its check and its own tests. `train`: a model learns anew. `deploy`: the Prefect server or the gateway must be
    told, with `brandhouse register` or a new process; a new version reaches production by the ledger and needs none.
    """

    TEST = "test"
    TRAIN = "train"
    DEPLOY = "deploy"


@dataclass(frozen=True, slots=True)
class Touch:
    """One reason why a brand is touched.

    Attributes:
        actions: What is needed because of it.
        why: Words that several causes share, such as `code`.
        cause: The file, module, key or package that changed.
        models: Models to train; None means all of the brand.
    """

    brand: str
    actions: frozenset[Action]
    why: str
    cause: str
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Affected:
    """A brand that a change touches.

    Attributes:
        actions: In the order in which they are done.
        reasons: One sentence a kind of cause.
        models: Those to train, sorted; None means all of the brand.
    """

    brand: str
    actions: tuple[Action, ...]
    reasons: tuple[str, ...]
    models: tuple[str, ...] | None

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def collect(touches: Iterable[Touch]) -> list[Affected]:
    """Put the touches of each brand together; sorted by brand."""
    by_brand: dict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        by_brand[touch.brand].append(touch)
    return [_affected(brand, by_brand[brand]) for brand in sorted(by_brand)]


def _affected(brand: str, touches: list[Touch]) -> Affected:
    wanted = {action for touch in touches for action in touch.actions}
    causes: dict[str, list[str]] = defaultdict(list)
    for touch in touches:
        if touch.cause not in causes[touch.why]:
            causes[touch.why].append(touch.cause)
    reasons = tuple(f"{why}: {join_bounded(named, NAMED_CAUSES)}" for why, named in causes.items())
    return Affected(brand, tuple(action for action in Action if action in wanted), reasons, _models(touches))


def _models(touches: list[Touch]) -> tuple[str, ...] | None:
    training = [touch.models for touch in touches if Action.TRAIN in touch.actions]
    if any(models is None for models in training):
        return None
    return tuple(sorted({name for models in training for name in models or ()}))
