"""The roles of all columns together: repeats, entities, leaks, and what a person asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from brandhouse_authoring.column_names import find_column
from brandhouse_authoring.column_relations import LEAK_LIMIT, Suspect, find_namesakes, find_suspects, leave_out_repeats
from brandhouse_authoring.column_roles import Role, decide_role, decide_type, names_entity
from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.name_words import PLACE, name_words
from brandhouse_authoring.privacy_signs import find_sign
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_authoring.task_choice import Goal
from brandhouse_shared.errors import DatasetError

MIN_PLACES = 5


@dataclass(frozen=True)
class SettledRoles:
    """The roles of all columns but the target, and what was noticed about them.

    Attributes:
        roles: By column, in the file's order.
        remarks: What a person should look at though it changes nothing.
    """

    roles: Mapping[str, Role]
    remarks: tuple[Decision, ...]


def settle_roles(
    profiles: Mapping[str, ColumnProfile], target: ColumnProfile, goal: Goal, keep: Sequence[str], leave_out: Sequence[str]
) -> SettledRoles:
    """Decide all columns.

    Args:
        profiles: Of all columns but the target.
        target: The column to predict.
        goal: What is learned of it.
        keep: Columns that a person wants as inputs.
        leave_out: Columns that a person does not want.

    Raises:
        DatasetError: If no input is left.
    """
    kept = {find_column(name, profiles) for name in keep}
    unwanted = {find_column(name, profiles) for name in leave_out}
    roles = {name: _asked(_with_entity(decide_role(profile), profile), kept, unwanted) for name, profile in profiles.items()}
    roles = _about_places(roles, profiles)
    roles = {name: _asked(role, kept, unwanted) for name, role in leave_out_repeats(roles, profiles).items()}
    suspects = find_suspects(roles, profiles, target, goal.truth, goal.task)
    roles |= {
        suspect.column: _asked(_leaking(roles[suspect.column], suspect), kept, unwanted)
        for suspect in suspects
        if suspect.score >= LEAK_LIMIT
    }
    if not any(role.is_input for role in roles.values()):
        reasons = "; ".join(f"{name[:40]!r}: {role.left_out}" for name, role in list(roles.items())[:5])
        raise DatasetError(f"no column is left to predict {target.name!r} from ({reasons}); bring more columns, or keep one of these")
    return SettledRoles(roles, (*_suspicions(suspects, roles), *_namesakes(target, roles, suspects)))


def _with_entity(role: Role, profile: ColumnProfile) -> Role:
    if not names_entity(profile):
        return role
    return replace(role, left_out="it names whom a row is about; what is learned about one says nothing about the next")


def _about_places(roles: Mapping[str, Role], profiles: Mapping[str, ColumnProfile]) -> dict[str, Role]:
    """Take an income or an age that is the same in all rows of a town for the town's."""
    places = [name for name, role in roles.items() if role.many_valued or role.field.get("type") == "category"]
    places = [name for name in places if set(name_words(name)) & PLACE and profiles[name].distinct >= MIN_PLACES]
    settled = dict(roles)
    for name, role in roles.items():
        sign = find_sign(profiles[name]) if role.field.get("privacy") == "personal" and profiles[name].all_numbers else None
        if sign and sign.what in ("income", "age") and any(_is_same_within(profiles[name], profiles[place]) for place in places):
            settled[name] = replace(decide_type(profiles[name]), why="the same in all rows of a place: it is about the place")
    return settled


def _is_same_within(profile: ColumnProfile, place: ColumnProfile) -> bool:
    """Whether every place has one value, and places have several rows, so that this is no chance."""
    both = (profile.codes >= 0) & (place.codes >= 0)
    pairs = np.unique(place.codes[both].astype(np.int64) * profile.distinct + profile.codes[both])
    seen = np.unique(place.codes[both])
    return len(seen) >= MIN_PLACES and len(pairs) == len(seen) and int(both.sum()) >= 2 * len(seen)


def _asked(role: Role, kept: set[str], unwanted: set[str]) -> Role:
    """What a person said stands above what was found out."""
    if role.name in unwanted:
        return replace(role, left_out="you asked for it", question=None)
    if role.name in kept:
        return replace(role, left_out="", why="you asked for it", attention=False, question=None)
    return role


def _leaking(role: Role, suspect: Suspect) -> Role:
    reason = f"it alone gives the target away ({suspect.score:.3f} of 1): known only afterwards, or made from it?"
    return replace(role, left_out=reason, attention=True)


def _suspicions(suspects: Sequence[Suspect], roles: Mapping[str, Role]) -> list[Decision]:
    why = "it alone predicts the target very well ({:.2f} of 1); is it known before the answer is?"
    return [
        Decision(one.column, "kept, but look at it", why.format(one.score), attention=True)
        for one in suspects
        if roles[one.column].is_input
    ]


def _namesakes(target: ColumnProfile, roles: Mapping[str, Role], suspects: Sequence[Suspect]) -> list[Decision]:
    told = {suspect.column for suspect in suspects}
    why = "its name holds the target's; is it known before the answer is?"
    return [Decision(name, "kept, but look at it", why, attention=True) for name in find_namesakes(target.name, roles) if name not in told]
