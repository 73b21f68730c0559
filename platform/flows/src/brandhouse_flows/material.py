"""From a snapshot to the rows a model learns from and is judged on: contract, target, split, features."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.datasets import read_table
from brandhouse_flows.planning import Plan
from brandhouse_flows.quarantine import require_few_bad, sift_rows
from brandhouse_flows.sampling import thin
from brandhouse_flows.splits import HoldoutSplit, Target, encode_target, read_times, split_rows
from brandhouse_shared.brands import Brand, ModelCode
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import DatasetError, EntrypointError, join_bounded
from brandhouse_shared.features import build_model_input

ROWWISE_SAMPLE = 5
"""Hold-out rows that are also turned into features one by one, as serving does."""


@dataclass(frozen=True, slots=True)
class Material:
    """The rows of one snapshot, checked, split and turned into features.

    Attributes:
        table: Raw texts of the rows that have a target.
        target: Target of exactly these rows.
        split: Positions in `table`.
        rows: Canonical frame of the input fields, all rows of `table`.
        features: Canonical feature frame, all rows of `table`.
        groups: Group of each row for a grouped split, else None.
        quarantined: Rows with a target that contradict the input schema, and were left out.
    """

    table: pd.DataFrame
    target: Target
    split: HoldoutSplit
    rows: pd.DataFrame
    features: pd.DataFrame
    groups: npt.NDArray[Any] | None
    quarantined: int = 0

    @property
    def truth(self) -> npt.NDArray[Any]:
        """Target of the hold-out rows."""
        return np.asarray(self.target.values[self.split.holdout])

    @property
    def holdout_features(self) -> pd.DataFrame:
        """Features of the hold-out rows."""
        return self.features.iloc[self.split.holdout]

    @property
    def holdout_rows(self) -> pd.DataFrame:
        """Canonical rows of the hold-out."""
        return self.rows.iloc[self.split.holdout]

    @property
    def holdout_table(self) -> pd.DataFrame:
        """Raw texts of the hold-out rows."""
        return self.table.iloc[self.split.holdout]


def prepare_material(plan: Plan, snapshot: Snapshot, code: ModelCode) -> Material:
    """Check the table against the contract, split it, and build the features.

    Raises:
        DatasetError: If the file cannot be read, the target is unusable, or there are too few rows.
        ContractViolationError: If the data contradict the input schema.
        EntrypointError: If `build_features` fails or gives a row other features alone than among others.
    """
    table, target, quarantined = _read_rows(plan.brand, plan.model, str(plan.key), snapshot)
    rows = Contract(plan.model.inputs).parse_table(table, str(plan.key))
    split = split_rows(table, plan.model, target.values, str(plan.key))
    if plan.wishes.sample is not None:
        kept, split = thin(table, target.values, split, plan.model, plan.wishes.sample, str(plan.key))
        table, rows = table.iloc[kept].reset_index(drop=True), rows.iloc[kept].reset_index(drop=True)
        target = replace(target, values=target.values[kept])
    features = build_model_input(code, rows, str(plan.key))
    _require_rowwise(code, rows, features, split, str(plan.key))
    return Material(table, target, split, rows, features, find_groups(plan.model, table), quarantined)


def read_learnable_rows(brand: Brand, model: ModelConfig, subject: str, snapshot: Snapshot) -> tuple[pd.DataFrame, Target]:
    """Read a snapshot and keep the rows that have a target and are not in quarantine, in time order where the split is by time.

    Raises:
        DatasetError: If a declared column is not in the data, or the target is unusable.
        ContractViolationError: If more rows contradict the input schema than the dataset allows.
    """
    table, target, _ = _read_rows(brand, model, subject, snapshot)
    return table, target


def read_named_columns(brand: Brand, model: ModelConfig, subject: str, snapshot: Snapshot) -> pd.DataFrame:
    """Read a snapshot that holds what target, slices, fairness and split name.

    Raises:
        DatasetError: If the file cannot be read, or lacks one of these columns.
    """
    table = read_table(brand.config.datasets[model.dataset], snapshot.path)
    require_named_columns(table, model, subject, snapshot.file)
    return table


def require_named_columns(table: pd.DataFrame, model: ModelConfig, subject: str, file: str) -> None:
    """Refuse a table that lacks a column which target, slices, fairness or split name.

    Raises:
        DatasetError: With the columns that it lacks and those that it has.
    """
    grouped = model.fairness.fields if model.fairness is not None else ()
    wanted = [model.target, *model.slices, *grouped, *([model.split.by] if model.split.by else [])]
    lacking = [name for name in wanted if name not in table.columns]
    if lacking:
        named = "named by target, slices, fairness or split"
        raise DatasetError(f"{subject}: {file} lacks {join_bounded(lacking)}, {named}; columns: {join_bounded(table.columns, 40)}")


def _read_rows(brand: Brand, model: ModelConfig, subject: str, snapshot: Snapshot) -> tuple[pd.DataFrame, Target, int]:
    """Also return how many rows are in quarantine. Where no bad row is allowed, the contract itself refuses it later."""
    table = read_named_columns(brand, model, subject, snapshot)
    max_bad_share = brand.config.datasets[model.dataset].max_bad_share
    quarantined = 0
    if max_bad_share:
        sifted = sift_rows(table, model)
        require_few_bad(sifted, max_bad_share, subject)
        quarantined = len(sifted.bad)
        table = table.drop(index=sifted.bad.index).reset_index(drop=True)
    return *encode_rows(table, model, subject), quarantined


def encode_rows(table: pd.DataFrame, model: ModelConfig, subject: str) -> tuple[pd.DataFrame, Target]:
    """Put the rows in time order where the split is by time, and keep those that have a target.

    Raises:
        DatasetError: If a time cannot be read, or the target is unusable.
    """
    if model.split.kind == "time":
        times = read_times(table[str(model.split.by)], model.split, subject)
        table = table.iloc[np.argsort(times, kind="stable")].reset_index(drop=True)
    target = encode_target(table[model.target], model, subject)
    return table.loc[target.keep].reset_index(drop=True), target


def _require_rowwise(code: ModelCode, rows: pd.DataFrame, features: pd.DataFrame, split: HoldoutSplit, subject: str) -> None:
    """Refuse features that depend on the other rows: serving sees one row at a time, and would answer differently."""
    for position in split.holdout[:: max(1, len(split.holdout) // ROWWISE_SAMPLE)][:ROWWISE_SAMPLE]:
        try:
            alone = build_model_input(code, rows.iloc[[position]], subject)
        except EntrypointError as error:
            raise EntrypointError(f"{error}; it was given a single row, as serving gives it") from error
        among = features.iloc[[position]]
        differing = [*among.columns.symmetric_difference(alone.columns)] or [
            name for name in among if not _is_same(among[name].iloc[0], alone[name].iloc[0])
        ]
        if differing:
            raise EntrypointError(
                f"{subject}: build_features gives a row other values alone than among others ({join_bounded(differing)}); "
                "serving answers single rows, so put what is learned from all rows (means, ranks, categories) into the estimator's pipeline"
            )


def _is_same(one: Any, other: Any) -> bool:
    """Equal texts, or numbers that differ by no more than NumPy's vector and scalar arithmetic may."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return bool(np.isclose(one, other, rtol=1e-5, atol=1e-8, equal_nan=True))


def find_groups(model: ModelConfig, table: pd.DataFrame) -> npt.NDArray[Any] | None:
    """Number the groups of a grouped split; None for any other split."""
    if model.split.kind != "grouped":
        return None
    column = table[str(model.split.by)]
    return np.asarray(pd.factorize(column.astype(object).where(column.notna(), "").astype(str))[0])
