"""Rows that contradict an input schema: kept aside with the reason, counted, never dropped in silence.

The snapshot stays as it came. What is in quarantine follows from snapshot and schema alone, so that ingest, training and
replay agree on it, on every machine; the file is for people. It lies in the brand's own folder of the platform's home,
beside the brand's cache, which holds the same rows; only this user may read it. Fields declared sensitive are left out.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from brandhouse_shared.brands import Brand
from brandhouse_shared.config import ModelConfig, Privacy
from brandhouse_shared.contracts import Contract, Refusal
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.metrics import Task
from brandhouse_shared.settings import Settings

COLUMNS = ("row", "field", "reason", "raw")
LARGEST_FILE_ROWS = 100_000
"""Refused cells that are written out; all are counted. Whoever has more has a broken source, not bad rows."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The rows of a table that have a target, divided by the input schema.

    Attributes:
        good: Rows that fit; they keep their index, the row's place in the file from 0.
        bad: Rows that do not.
        refusals: What was refused why; one boolean a row that has a target.
        index: Index of those rows.
    """

    good: pd.DataFrame
    bad: pd.DataFrame
    refusals: list[Refusal]
    index: npt.NDArray[Any]

    @property
    def checked(self) -> int:
        """How many rows have a target."""
        return len(self.index)

    @property
    def bad_share(self) -> float:
        """Share of those that do not fit."""
        return len(self.bad) / self.checked if self.checked else 0.0


def sift_rows(table: pd.DataFrame, model: ModelConfig) -> Sifted:
    """Divide the rows that have a target into those that fit the input schema and those that do not.

    Args:
        table: Raw texts with a fresh index. Not changed.
        model: Says the input schema and the target.
    """
    targets = table[model.target]
    answered = table.loc[(targets.notna() & (targets.astype(str).str.strip() != "")).to_numpy()]
    _, refusals = Contract(model.inputs).refuse_cells(answered)
    refusals += _refused_targets(answered, model)
    is_bad = np.logical_or.reduce([refusal.rows for refusal in refusals]) if refusals else np.zeros(len(answered), dtype=bool)
    return Sifted(answered.loc[~is_bad], answered.loc[is_bad], refusals, answered.index.to_numpy())


def _refused_targets(answered: pd.DataFrame, model: ModelConfig) -> list[Refusal]:
    """A target that is no number, where a number is to be predicted."""
    if model.task is not Task.REGRESSION:
        return []
    values = pd.to_numeric(answered[model.target], errors="coerce").to_numpy(dtype=np.float64)
    rows = ~np.isfinite(values)
    return [Refusal(model.target, "something else; allowed: a number", rows)] if rows.any() else []


def require_few_bad(sifted: Sifted, max_bad_share: float, subject: str) -> None:
    """Refuse data of which too many rows do not fit.

    Raises:
        ContractViolationError: With the number of refused rows for every field.
    """
    if sifted.bad_share > max_bad_share:
        whole = f"{len(sifted.bad)} of {sifted.checked} rows refused ({sifted.bad_share:.2%}); allowed: max_bad_share = {max_bad_share:g}"
        raise ContractViolationError(subject, [f"{refusal.field}: {refusal}" for refusal in sifted.refusals] + [whole])


def quarantine_path(settings: Settings, brand: Brand, model: str, dataset: str, hash_md5: str) -> Path:
    """Where the refused rows of one snapshot are listed for people."""
    return settings.home / "quarantine" / brand.name / dataset / f"{hash_md5}-{model}.csv"


def write_quarantine(path: Path, sifted: Sifted, model: ModelConfig) -> None:
    """Write one line a refused cell: the row's number in the data (the first is 1), the field, the reason, and the raw row.

    The raw row holds what the model names and is not sensitive. No refused row: no file.
    """
    if sifted.bad.empty:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    arriving = path.with_suffix(".tmp")
    arriving.unlink(missing_ok=True)
    descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(_lines(sifted, _shown_columns(sifted.bad, model)))
    arriving.replace(path)


def _lines(sifted: Sifted, shown: Sequence[str]) -> list[tuple[int, str, str, str]]:
    raw = dict(zip(sifted.bad.index, sifted.bad[list(shown)].to_dict("records"), strict=True))
    places = [(int(row), refusal) for refusal in sifted.refusals for row in sifted.index[refusal.rows]]
    places.sort(key=lambda place: (place[0], place[1].field))
    return [
        (row + 1, refusal.field, refusal.reason, json.dumps(raw[row], ensure_ascii=False)) for row, refusal in places[:LARGEST_FILE_ROWS]
    ]


def _shown_columns(table: pd.DataFrame, model: ModelConfig) -> list[str]:
    named = [*model.inputs, model.target, *model.slices, *([model.split.by] if model.split.by else [])]
    sensitive = {name for name, field in model.inputs.items() if field.privacy is Privacy.SENSITIVE}
    return [name for name in dict.fromkeys(named) if name in table.columns and name not in sensitive]
