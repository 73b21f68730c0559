"""Labelled rows as a table that can be ingested: the columns of the dataset, the target filled in."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from brandhouse_flows.data_project import DataProject
from brandhouse_flows.datasets import read_table
from brandhouse_flows.label_book import PickedRow
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Dataset, ModelConfig, Scalar
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Exported:
    """A table that was written.

    Attributes:
        rows: In all.
        labelled: Of them labelled rows.
        incomplete: Input fields that rows of the prediction log lack, since they may not be kept there.
    """

    rows: int
    labelled: int
    incomplete: tuple[str, ...]


def export_labels(
    settings: Settings,
    brand: Brand,
    key: ModelKey,
    picked: Mapping[str, PickedRow],
    settled: Mapping[str, Scalar],
    path: Path,
    *,
    with_snapshot: bool,
) -> Exported:
    """Write the labelled rows in the form in which the dataset is declared.

    Args:
        settings: Of this process.
        brand: Whose rows they are.
        key: The model.
        picked: The rows by id.
        settled: Their labels.
        path: Replaced if it exists.
        with_snapshot: Whether the rows of the present snapshot come first.

    Raises:
        DatasetError: If the dataset's form cannot be written, or there is nothing to write.
    """
    model = brand.model(key.model)
    declared = brand.config.datasets[model.dataset]
    _require_csv(key, declared)
    chosen = [(picked[row_id], label) for row_id, label in settled.items() if row_id in picked]
    if not chosen:
        raise DatasetError(f"{key}: no labelled row to export; take a sheet back with `brandhouse label {key} --take FILE`")
    project = DataProject(brand, settings)
    present = read_table(declared, project.fetch(model.dataset, project.pointer(model.dataset).hash_md5))
    labelled = pd.DataFrame([_cells(row, label, model) for row, label in chosen], dtype=object).reindex(columns=present.columns)
    table = pd.concat([present, labelled], ignore_index=True) if with_snapshot else labelled
    _write(table, declared, path)
    incomplete = [name for name in model.inputs if any(_is_withheld(row.row.get(name), name, row) for row, _ in chosen)]
    return Exported(len(table), len(labelled), tuple(incomplete))


def _require_csv(key: ModelKey, declared: Dataset) -> None:
    if declared.format != "csv" or declared.skip_rows:
        form = declared.format if declared.format != "csv" else f"csv with {declared.skip_rows} lines before the header"
        raise DatasetError(f"{key}: labelled rows are exported as csv, and the dataset is {form}; convert it once, or read `picked.jsonl`")


def _cells(row: PickedRow, label: Scalar, model: ModelConfig) -> dict[str, str | None]:
    cells = {name: None if _is_withheld(value, name, row) else _text(value) for name, value in row.row.items()}
    return cells | {model.target: _text(label)}


def _is_withheld(value: Any, name: str, row: PickedRow) -> bool:
    """Whether a logged row lacks the field: not kept at all, or only as a hash that nothing can be learned from."""
    return row.origin == "log" and (name not in row.row or (isinstance(value, str) and value.startswith("hmac:")))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _write(table: pd.DataFrame, declared: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table if declared.decimal == "." else table.apply(_with_decimal, decimal=declared.decimal)
    encoding = "utf-8" if declared.encoding == "utf-8-sig" else declared.encoding
    table.to_csv(
        path,
        sep=declared.separator,
        encoding=encoding,
        index=False,
        header=declared.header is None,
        na_rep=_missing_word(declared.missing),
        quoting=csv.QUOTE_MINIMAL,
    )


def _missing_word(words: Sequence[str]) -> str:
    return "" if "" in words or not words else words[0]


def _with_decimal(cells: "pd.Series[Any]", decimal: str) -> "pd.Series[Any]":
    """Write the numbers of a column of numbers with the declared decimal sign, as they were read."""
    known = cells.dropna()
    is_number = bool(len(known)) and pd.to_numeric(known, errors="coerce").notna().all()
    return cells.str.replace(".", decimal, regex=False) if is_number else cells
