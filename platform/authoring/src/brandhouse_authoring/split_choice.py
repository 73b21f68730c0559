"""How the hold-out is taken: by whom the rows are about, by time, or at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_authoring.column_roles import Role, names_entity
from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.name_words import OTHER_DATE, TIME, name_words
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_flows.splits import split_rows
from brandhouse_shared.config import FieldType, ModelConfig
from brandhouse_shared.errors import DatasetError

MIN_TIMES = 20


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """A split and why.

    Attributes:
        declared: Keys of `split`.
        decision: For the table.
    """

    declared: Mapping[str, Any]
    decision: Decision

    @property
    def by(self) -> str | None:
        """The column that decides; None for a random split."""
        return self.declared.get("by")


def rank_splits(roles: Mapping[str, Role], profiles: Mapping[str, ColumnProfile]) -> list[SplitChoice]:
    """Return the splits that fit the table, best first; a random one is always last."""
    entities = [name for name in roles if names_entity(profiles[name])]
    moments = sorted(
        (name for name, role in roles.items() if _orders_rows(role, profiles[name])),
        key=lambda name: not _is_sorted(roles[name], profiles[name]),
    )
    gaps = [name for name, role in roles.items() if name not in moments and _orders_rows(role, profiles[name], with_gaps=True)]
    return [
        *[_grouped(profiles[name]) for name in sorted(entities, key=lambda name: -profiles[name].distinct)[:1]],
        *[_by_time(roles[name], profiles[name]) for name in moments[:1]],
        SplitChoice({"kind": "random"}, _at_random(gaps)),
    ]


def _at_random(gaps: list[str]) -> Decision:
    if not gaps:
        return Decision("split", "at random", "no column tells whom or when a row is about")
    return Decision("split", "at random", f"{gaps[0]} would tell when, but some rows lack it: fill it in and split by time", attention=True)


def first_that_works(
    choices: list[SplitChoice], model: ModelConfig, profiles: Mapping[str, ColumnProfile], truth: NDArray[Any]
) -> SplitChoice:
    """Try splits as a training will, and return the first that leaves enough rows and classes on both sides.

    Args:
        choices: Best first.
        model: The proposal so far; its split is replaced.
        profiles: Of the columns that the splits name.
        truth: Target of every row that has one, NaN elsewhere: value or class code.

    Raises:
        DatasetError: If none works.
    """
    has_target = ~np.isnan(truth)
    refusal: DatasetError | None = None
    for choice in choices:
        tried = model.model_copy(update={"split": model.split.model_validate(choice.declared)})
        columns = {} if choice.by is None else {choice.by: profiles[choice.by].texts(np.flatnonzero(has_target))}
        table = pd.DataFrame(columns, index=range(int(has_target.sum())), dtype=object)
        try:
            split_rows(table, tried, truth[has_target])
        except DatasetError as error:
            refusal = error
            continue
        return choice if refusal is None else _second_best(choice)
    raise refusal or DatasetError("no split was given")


def _second_best(choice: SplitChoice) -> SplitChoice:
    why = f"{choice.decision.why}; the better split would leave too little on one side"
    return SplitChoice(choice.declared, Decision("split", choice.decision.decision, why, attention=True))


def _grouped(profile: ColumnProfile) -> SplitChoice:
    rows = profile.known / profile.distinct
    why = f"each has {rows:.1f} rows on average, which resemble each other: all of them lie on one side"
    return SplitChoice({"kind": "grouped", "by": profile.name}, Decision("split", f"grouped by {profile.name}", why, attention=True))


def _by_time(role: Role, profile: ColumnProfile) -> SplitChoice:
    declared = {"kind": "time", "by": profile.name, "format": role.field["format"]}
    how = "the file is in its order" if _is_sorted(role, profile) else "it says when"
    return SplitChoice(
        declared, Decision("split", f"by time, {profile.name}", f"{how}: the newest rows are held out, as in use", attention=True)
    )


def _orders_rows(role: Role, profile: ColumnProfile, *, with_gaps: bool = False) -> bool:
    has_year = role.field.get("type") == FieldType.DATE and "%y" in role.field["format"].lower()
    if not has_year or profile.distinct < MIN_TIMES or (profile.missing and not with_gaps):
        return False
    words = set(name_words(profile.name))
    return not words & OTHER_DATE and (bool(words & TIME) or (not profile.missing and _is_sorted(role, profile)))


def _is_sorted(role: Role, profile: ColumnProfile) -> bool:
    """Whether the file is in the order of this date, oldest or newest first."""
    stamps = pd.to_datetime(pd.Series(profile.values.to_pylist(), dtype=object), format=role.field["format"], errors="coerce", utc=True)
    times = stamps.astype("int64").to_numpy()[profile.codes]
    steps = np.diff(times)
    return bool((steps >= 0).all() or (steps <= 0).all())
