"""Whether data may become a snapshot, or stay one: every model on them must be able to learn from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.datasets import read_table
from brandhouse_flows.material import encode_rows, read_named_columns, require_named_columns
from brandhouse_flows.quarantine import Sifted, quarantine_path, require_few_bad, sift_rows, write_quarantine
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ContractViolationError, DatasetError, join_bounded
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Checked:
    """What a model can learn from a snapshot.

    Attributes:
        rows: Rows that have a target and fit the input schema.
        quarantined: Rows that have a target and do not.
        reasons: Sentences on them, with counts; never a value.
        file: Where they are listed for people; None if there are none.
    """

    rows: int
    quarantined: int
    reasons: tuple[str, ...]
    file: Path | None


def models_on(brand: Brand, dataset: str) -> list[str]:
    """Names of the models that learn from a dataset."""
    return [key for key, model in brand.config.models.items() if model.dataset == dataset]


def check_models(settings: Settings, brand: Brand, snapshot: Snapshot, table: pd.DataFrame | None = None) -> dict[str, Checked]:
    """Check the contract of every model on a snapshot's dataset. `table` is what the snapshot holds, if it has been read."""
    rows = read_table(brand.config.datasets[snapshot.dataset], snapshot.path) if table is None else table
    return {name: check_model(settings, brand, name, snapshot, rows) for name in models_on(brand, snapshot.dataset)}


def require_learnable(brand: Brand, snapshot: Snapshot, table: pd.DataFrame) -> None:
    """Like `check_models`, but without listing rows anywhere.

    Raises:
        DatasetError: If a model's target is unusable, or the data do not say whom a row is about although that is declared.
        ContractViolationError: If the data contradict a model's input schema.
    """
    _require_subject(brand, snapshot, table)
    for name in models_on(brand, snapshot.dataset):
        declared, subject = brand.model(name), f"{brand.name}/{name}"
        sifted = _sift(declared, subject, snapshot, table)
        require_few_bad(sifted, brand.config.datasets[snapshot.dataset].max_bad_share, subject)
        encode_rows(sifted.good.reset_index(drop=True), declared, subject)


def check_model(settings: Settings, brand: Brand, model: str, snapshot: Snapshot, table: pd.DataFrame | None = None) -> Checked:
    """Check one model's contract on a snapshot, and list the rows that do not fit. `table` as for `check_models`.

    Raises:
        DatasetError: If the file cannot be read, the target is unusable, or the declared `subject` is not in it.
        ContractViolationError: If more rows contradict the input schema than the dataset allows.
    """
    declared, subject = brand.model(model), f"{brand.name}/{model}"
    rows = read_table(brand.config.datasets[snapshot.dataset], snapshot.path) if table is None else table
    _require_subject(brand, snapshot, rows)
    sifted = _sift(declared, subject, snapshot, rows)
    path = quarantine_path(settings, brand, model, snapshot.dataset, snapshot.hash_md5)
    write_quarantine(path, sifted, declared)
    reasons = tuple(f"{refusal.field}: {refusal}" for refusal in sifted.refusals)
    try:
        require_few_bad(sifted, brand.config.datasets[snapshot.dataset].max_bad_share, subject)
    except ContractViolationError as error:
        raise ContractViolationError(subject, [*error.violations, f"each row with its reason: {path}"]) from None
    encode_rows(sifted.good.reset_index(drop=True), declared, subject)
    return Checked(len(sifted.good), len(sifted.bad), reasons, None if sifted.bad.empty else path)


def _require_subject(brand: Brand, snapshot: Snapshot, table: pd.DataFrame) -> None:
    """Refuse data in which a person could not be found again."""
    column = brand.config.datasets[snapshot.dataset].subject
    if column is not None and column not in table.columns:
        raise DatasetError(
            f"{brand.name}/{snapshot.dataset}: {snapshot.file} lacks {column[:80]!r}, which brand.toml names as its `subject`; "
            f"columns: {join_bounded(table.columns, 40)}"
        )


def _sift(declared: ModelConfig, subject: str, snapshot: Snapshot, table: pd.DataFrame) -> Sifted:
    require_named_columns(table, declared, subject, snapshot.file)
    Contract(declared.inputs).require_columns(table, subject)
    return sift_rows(table, declared)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One reason for which rows of a present snapshot are in quarantine.

    Attributes:
        model: Whose input schema they contradict.
        dataset: Where they are.
        hash_md5: Of the snapshot.
        field: The field.
        reason: What its cells hold and what is allowed; never a value.
        cells: Rows refused for this reason.
        bad: Rows of the model refused for any reason.
        checked: Rows that have a target.
        max_bad_share: What the dataset allows; with more, nothing is trained.
        file: Where each row is listed.
    """

    model: str
    dataset: str
    hash_md5: str
    field: str
    reason: str
    cells: int
    bad: int
    checked: int
    max_bad_share: float
    file: Path

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "file": str(self.file)}


def find_quarantined(settings: Settings, brand: Brand) -> list[Quarantined]:
    """Which rows of a brand's present snapshots are in quarantine; their files are written if they are not here yet.

    Raises:
        DatasetError: If a snapshot cannot be fetched or read.
    """
    project = DataProject(brand, settings)
    return [
        one
        for dataset in brand.config.datasets
        for model in models_on(brand, dataset)
        for one in _quarantined(settings, brand, model, project.import_source(dataset))
    ]


def _quarantined(settings: Settings, brand: Brand, model: str, snapshot: Snapshot) -> list[Quarantined]:
    declared = brand.model(model)
    sifted = sift_rows(read_named_columns(brand, declared, f"{brand.name}/{model}", snapshot), declared)
    path = quarantine_path(settings, brand, model, snapshot.dataset, snapshot.hash_md5)
    write_quarantine(path, sifted, declared)
    allowed = brand.config.datasets[snapshot.dataset].max_bad_share
    counted = (len(sifted.bad), sifted.checked, allowed, path)
    return [
        Quarantined(model, snapshot.dataset, snapshot.hash_md5, one.field, one.reason, int(one.rows.sum()), *counted)
        for one in sifted.refusals
    ]
