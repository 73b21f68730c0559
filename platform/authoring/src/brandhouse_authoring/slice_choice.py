"""By which columns the score is broken down: few, of a handful of values, with enough held-out rows in each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from brandhouse_authoring.column_roles import Role
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_shared.config import FieldType, Gates, Privacy, Split
from brandhouse_shared.metrics import Task

MAX_SLICES = 2
MAX_VALUES = 8
MAX_RELATIVE_SPREAD = 1.5
"""How much harder a slice may be than the whole; a harder one would fail the gate for what it is, not for what was learned."""


def choose_slices(
    roles: Mapping[str, Role], profiles: Mapping[str, ColumnProfile], target: ColumnProfile, truth: NDArray[np.float64], task: Task
) -> tuple[str, ...]:
    """Return the columns to slice by; those about persons first, because there unequal scores matter most.

    Args:
        roles: Of all columns but the target.
        profiles: Of the same columns.
        target: The column to predict.
        truth: Number of each distinct value of the target.
        task: What is learned.
    """
    kept = target.codes >= 0
    values = truth[target.codes[kept]]
    fitting = [
        name
        for name, role in roles.items()
        if role.is_input and _is_sliceable(role, profiles[name]) and _is_even(profiles[name].codes[kept], values, task)
    ]
    return tuple(sorted(fitting, key=lambda name: roles[name].field.get("privacy", Privacy.PUBLIC) == Privacy.PUBLIC)[:MAX_SLICES])


def _is_sliceable(role: Role, profile: ColumnProfile) -> bool:
    enough = Gates.model_fields["slice_min_rows"].default / Split().holdout_share
    is_kind = role.type in (FieldType.CATEGORY, FieldType.BOOLEAN) and 2 <= profile.distinct <= MAX_VALUES
    return is_kind and not profile.missing and int(profile.counts.min()) >= enough


def _is_even(codes: NDArray[np.int32], values: NDArray[np.float64], task: Task) -> bool:
    """Whether no slice is much harder to predict than the whole, by what a constant answer would be off."""
    whole = _difficulty(values, task)
    slices = [values[codes == code] for code in np.unique(codes)]
    if any(len(inside) < 2 or (task is Task.BINARY and np.ptp(inside) == 0) for inside in slices):
        return False
    return whole > 0 and all(_difficulty(inside, task) <= MAX_RELATIVE_SPREAD * whole for inside in slices)


def _difficulty(values: NDArray[np.float64], task: Task) -> float:
    if task is Task.REGRESSION:
        return float(np.mean(np.abs(values - np.median(values))))
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log(shares)).sum())
