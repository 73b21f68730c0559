"""The short table: what needs a look by itself, what is plain in groups, so that a hundred columns still fit a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brandhouse_authoring.column_roles import Role, describe
from brandhouse_authoring.date_formats import is_clock
from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.role_settling import SettledRoles
from brandhouse_flows.leakage import MAX_ROWS
from brandhouse_shared.config import FieldType
from brandhouse_shared.errors import join_bounded

NAMES_IN_A_GROUP = 6
_GROUPS = {
    FieldType.NUMBER: "numbers",
    FieldType.INTEGER: "whole numbers",
    FieldType.BOOLEAN: "yes or no",
    FieldType.CATEGORY: "categories",
    FieldType.TEXT: "free text",
    FieldType.DATE: "dates",
}
_WHY = {
    FieldType.NUMBER: "allowed ranges are wider than what was seen",
    FieldType.INTEGER: "allowed ranges are wider than what was seen",
    FieldType.BOOLEAN: "they hold two words that mean so",
    FieldType.CATEGORY: "where no new value is to be expected, others are refused",
    FieldType.TEXT: "several words a row",
    FieldType.DATE: "their format is written down; year, month and weekday are learned from",
}


def list_decisions(
    file: Sequence[Decision], goal: Sequence[Decision], split: Decision, settled: SettledRoles, model: Sequence[Decision], rows: int
) -> tuple[Decision, ...]:
    """Put all decisions in the order to be read: file, target, split, columns, model.

    Args:
        file: What was found out about the file.
        goal: What is learned.
        split: How the hold-out is taken.
        settled: The columns.
        model: Estimator, slices and gates.
        rows: Rows that have a target.
    """
    sampled = (
        [Decision("rows", f"{MAX_ROWS:,} of {rows:,} compared", "leaks are looked for in a sample; all else in all rows")]
        if rows > MAX_ROWS
        else []
    )
    roles = list(settled.roles.values())
    inputs = [role for role in roles if role.is_input]
    flagged = [Decision(role.name, describe(role), role.why, True) for role in inputs if role.attention]
    return (
        *file,
        *goal,
        split,
        *sampled,
        *_left_out([role for role in roles if not role.is_input]),
        *flagged,
        *settled.remarks,
        *_grouped([role for role in inputs if not role.attention]),
        *model,
    )


def _left_out(roles: Iterable[Role]) -> list[Decision]:
    by_reason: dict[tuple[str, bool], list[str]] = {}
    for role in roles:
        by_reason.setdefault((role.left_out, role.attention), []).append(role.name)
    return [Decision(_names(names), "left out", reason, attention) for (reason, attention), names in by_reason.items()]


def _grouped(roles: Sequence[Role]) -> list[Decision]:
    by_type: dict[FieldType, list[Role]] = {}
    for role in roles:
        by_type.setdefault(role.type, []).append(role)
    return [_group(kind, members) for kind, members in sorted(by_type.items(), key=lambda item: list(_GROUPS).index(item[0]))]


def _group(kind: FieldType, members: Sequence[Role]) -> Decision:
    if len(members) == 1:
        return Decision(members[0].name, describe(members[0]), members[0].why)
    if kind is FieldType.DATE and any(is_clock(role.field["format"]) for role in members):
        clocks = [role.name for role in members if is_clock(role.field["format"])]
        why = f"{_WHY[kind]}; of clock times ({_names(clocks)}) the hour and minute"
        return Decision(_names([role.name for role in members]), f"{len(members)} {_GROUPS[kind]}", why)
    return Decision(_names([role.name for role in members]), f"{len(members)} {_GROUPS[kind]}", _WHY[kind])


def _names(names: Sequence[str]) -> str:
    return join_bounded(names, NAMES_IN_A_GROUP)
