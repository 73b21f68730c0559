from typing import NamedTuple

import pytest

from brandhouse_shared.errors import GateError, StageChangeError
from brandhouse_shared.ledger.stages import Cause, Stage, check_change, check_gates, previous_production
from brandhouse_shared.names import VersionKey

V1 = VersionKey("kaasplein", "price", 1)
ALLOWED = {
    Stage.CANDIDATE: {Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED},
    Stage.SHADOW: {Stage.CANARY, Stage.PRODUCTION, Stage.RETIRED},
    Stage.CANARY: {Stage.SHADOW, Stage.PRODUCTION, Stage.RETIRED},
    Stage.PRODUCTION: {Stage.RETIRED},
    Stage.RETIRED: {Stage.SHADOW, Stage.CANARY, Stage.PRODUCTION},
}


class Entry(NamedTuple):
    number: int
    cause: str


def entries(story: str) -> list[Entry]:
    """`1 2 r1`: version 1 and 2 were promoted, then rolled back to 1."""
    return [Entry(int(word.removeprefix("r")), Cause.ROLLED_BACK if word.startswith("r") else Cause.CHANGED) for word in story.split()]


@pytest.mark.parametrize("present", Stage)
@pytest.mark.parametrize("to", Stage)
def test_each_pair_of_stages_is_allowed_or_refused(present: Stage, to: Stage) -> None:
    if to in ALLOWED[present]:
        check_change(V1, present, to)
    else:
        with pytest.raises(StageChangeError, match=f"kaasplein/price/v1 is .*in stage {present}"):
            check_change(V1, present, to)


@pytest.mark.parametrize(
    ("story", "present", "expected"),
    [
        ("", None, None),
        ("1", 1, None),
        ("1 2", 2, 1),
        ("1 2 3", 3, 2),
        ("1 2 3 r2", 2, 1),
        ("1 2 3 r2 r1", 1, None),
        ("1 2 3 r1", 1, None),
        ("1 2 r1 3", 3, 1),
        ("1 2 1", 1, 2),
        ("1 2 1 r2", 2, 1),
        ("1 2", None, 2),
        ("1 2 r2", 2, 1),
        ("1", None, 1),
    ],
)
def test_rollbacks_undo_promotions_like_a_stack(story: str, present: int | None, expected: int | None) -> None:
    assert previous_production(entries(story), present) == expected


def test_failed_gates_close_production_only() -> None:
    for to in set(Stage) - {Stage.PRODUCTION}:
        check_gates(V1, to, gates_passed=False, force=False, failed=["threshold"])
    check_gates(V1, Stage.PRODUCTION, gates_passed=True, force=False, failed=[])
    check_gates(V1, Stage.PRODUCTION, gates_passed=False, force=True, failed=["threshold"])
    with pytest.raises(GateError, match=r"kaasplein/price/v1 did not pass its gates \(threshold, slices\)"):
        check_gates(V1, Stage.PRODUCTION, gates_passed=False, force=False, failed=["threshold", "slices"])
