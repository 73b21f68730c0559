"""Which rows of a hold-out the version in production has not learned from.

A random hold-out of a snapshot that grew holds rows that were training rows before: on those, production would look better than it
is, and a retrained version could hardly ever beat it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.material import Material, read_learnable_rows
from brandhouse_flows.planning import Plan
from brandhouse_flows.splits import split_rows
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.records import Version


def find_fresh_rows(plan: Plan, material: Material, production: Version) -> npt.NDArray[np.bool_] | str:
    """Return which hold-out rows are new to production, or why nobody can tell.

    Rows are equal if all columns that both snapshots have are. Where a table holds the same values several times, as many of them
    count as learned from as production's training rows are among them: of equal rows it does not matter which.

    Args:
        plan: Of the training. The split that it declares is taken to be that of production's training, too.
        material: The new snapshot's rows.
        production: Knows the snapshot that it learned from.
    """
    try:
        learned = _learned_rows(plan, production)
    except BrandhouseError as error:
        return f"the rows that {production.key} learned from cannot be read: {str(error)[:200]}"
    columns = [name for name in material.table.columns if name in learned.columns]
    before, now = _row_hashes(learned, columns), _row_hashes(material.table, columns)
    return _fresh(before, now, material.split.holdout)


def _learned_rows(plan: Plan, production: Version) -> pd.DataFrame:
    record, subject = production.record, str(production.key)
    path = DataProject(plan.brand, plan.settings).fetch(record.snapshot_dataset, record.snapshot_hash)
    file = plan.brand.config.datasets[plan.model.dataset].file
    snapshot = Snapshot(record.snapshot_dataset, file, record.snapshot_hash, path.stat().st_size, path, changed=False)
    table, target = read_learnable_rows(plan.brand, plan.model, subject, snapshot)
    return table.iloc[split_rows(table, plan.model, target.values, subject).train]


def _row_hashes(table: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.uint64]:
    texts = table[columns].astype(object).where(table[columns].notna(), "").astype(str)
    return np.asarray(pd.util.hash_pandas_object(texts, index=False), dtype=np.uint64)


def _fresh(before: npt.NDArray[np.uint64], now: npt.NDArray[np.uint64], holdout: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    learned, present = _counts(before), _counts(now)
    held = now[holdout]
    seen: dict[int, int] = {}
    fresh = np.ones(len(held), dtype=bool)
    of_hold_out = _counts(held)
    for place, row in enumerate(held.tolist()):
        known = min(learned.get(row, 0), present[row]) / present[row]
        if known:
            seen[row] = seen.get(row, 0) + 1
            fresh[place] = seen[row] > np.ceil(known * of_hold_out[row])
    return fresh


def _counts(hashes: npt.NDArray[np.uint64]) -> dict[int, int]:
    values, counts = np.unique(hashes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
