"""What only shows between columns: one repeats another, or one gives the target away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brandhouse_authoring.column_roles import Role
from brandhouse_authoring.name_words import name_words
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_flows.leakage import MAX_ROWS, rank_features
from brandhouse_shared.config import FieldType, Gates
from brandhouse_shared.metrics import Task

SUSPICIOUS = 0.9
"""A column that alone predicts the target so well is reported; the gate's limit is higher, and there it is left out."""

LEAK_LIMIT: float = Gates.model_fields["leakage_score"].default
MAX_REPEATED_VALUES = 5_000
UNITLESS_STEPS = 1_000_000
HALF = 0.5
MAX_CLASSES = 30
"""More classes are not looked at one by one: the rarest tell nothing."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column that alone predicts the target suspiciously well.

    Attributes:
        column: Its name.
        score: In [0, 1], as the leakage gate measures it.
    """

    column: str
    score: float


def leave_out_repeats(roles: Mapping[str, Role], profiles: Mapping[str, ColumnProfile]) -> dict[str, Role]:
    """Leave out inputs that say the same as an earlier input in every row, be it in other words or another unit."""
    first: dict[bytes, str] = {}
    settled = dict(roles)
    for name, role in roles.items():
        key = _fingerprint(profiles[name], role) if role.is_input else None
        if key is not None and (other := first.setdefault(key, name)) != name:
            settled[name] = replace(role, left_out=f"says the same as {other} in every row")
    return settled


def _fingerprint(profile: ColumnProfile, role: Role) -> bytes | None:
    """What equals for columns that say the same: numbers up to unit and zero point, else which rows share a value."""
    if role.type in (FieldType.NUMBER, FieldType.INTEGER):
        return None if profile.distinct < 2 else b"#" + _digest(_unitless(profile)[profile.codes])
    if profile.distinct > MAX_REPEATED_VALUES or profile.distinct * 2 > profile.known:
        return None  # where nearly every row has its own value, all columns would look alike
    return b"~" + _digest(profile.codes)


def _unitless(profile: ColumnProfile) -> NDArray[np.int64]:
    """Each distinct number as a place between the smallest and the largest, the first row's in the lower half; -1 is missing."""
    numbers = profile.numbers
    places = (numbers - numbers.min()) / np.ptp(numbers)
    places = 1 - places if places[0] > HALF else places
    return np.append(np.round(places * UNITLESS_STEPS).astype(np.int64), -1)


def _digest(values: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()


def find_suspects(
    roles: Mapping[str, Role], profiles: Mapping[str, ColumnProfile], target: ColumnProfile, truth: NDArray[np.float64], task: Task
) -> list[Suspect]:
    """Return the inputs that alone predict the target suspiciously well, best first.

    Args:
        roles: Of all columns but the target.
        profiles: Of the same columns.
        target: The column to predict.
        truth: Number of each distinct value of the target: the value itself, or the class code.
        task: What is learned.
    """
    if task is not Task.REGRESSION and target.distinct > MAX_CLASSES:
        return []
    rows = sample_rows(np.flatnonzero(target.codes >= 0))
    features = {
        name: _feature(profiles[name], role, rows) for name, role in roles.items() if role.is_input and role.type is not FieldType.TEXT
    }
    if not features:
        return []
    values = truth[target.codes[rows]]
    ranked = rank_features(pd.DataFrame(features), values if task is Task.REGRESSION else values.astype(np.int64), task)
    return [Suspect(leak.feature, leak.score) for leak in ranked if leak.score >= SUSPICIOUS]


def sample_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most as many rows as the leakage gate looks at, by chance but always the same, in their order."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:MAX_ROWS])


def _feature(profile: ColumnProfile, role: Role, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    if role.type in (FieldType.NUMBER, FieldType.INTEGER):
        return profile.row_numbers[rows]
    return np.asarray([f"{code}" for code in profile.codes[rows]], dtype=object)


def find_namesakes(target: str, roles: Mapping[str, Role]) -> list[str]:
    """Inputs whose name holds the target's: `log_price` beside `price` may be made from it."""
    wanted = set(name_words(target))
    return [name for name, role in roles.items() if role.is_input and wanted and wanted < set(name_words(name))]
