"""Rows that could be labelled, from an unlabelled table: read as the dataset is declared, checked, and given ids.

Rows of the prediction log have ids already; the console turns them into candidates of the same shape.
"""

import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brandhouse_flows.datasets import read_table
from brandhouse_shared.brands import Brand
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ContractViolationError, DatasetError
from brandhouse_shared.names import ModelKey


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row that could be labelled.

    Attributes:
        id: Of the prediction, or of the table's row.
        origin: `log` or `table`.
        row: What is kept of it: input fields of a logged row, all cells of a table's row.
        instance: The row as a request holds it; what a person sees is taken from it.
        version: Number of the version that answered; None: not asked yet.
        prediction: Its number, or one probability per class; None: not asked yet.
    """

    id: str
    origin: str
    row: Mapping[str, Any]
    instance: Mapping[str, Any]
    version: int | None = None
    prediction: float | Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that could be labelled, and how many could not and why.

    Attributes:
        withheld: Input fields of which the rows hold no value a person could read.
        left_out: Reason to number of rows.
    """

    rows: list[Candidate]
    withheld: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


def read_candidates(brand: Brand, key: ModelKey, path: Path, id_key: bytes, labelled: Collection[str]) -> Candidates:
    """Read a table whose rows lack the target.

    Args:
        brand: Whose table it is.
        key: The model that is to learn from the labels.
        path: In the format of the model's dataset; the target's column may be missing or empty.
        id_key: Secret of the brand: ids are keyed hashes of rows, from which no value can be guessed.
        labelled: Ids that have a label already.

    Raises:
        DatasetError: If the file cannot be read, or no row is left.
        ContractViolationError: If a column of the input schema is missing.
    """
    if not path.is_file():
        raise DatasetError(f"{key}: {path} does not exist; give a table in the format of the model's dataset")
    model = brand.model(key.model)
    table = read_table(brand.config.datasets[model.dataset], path)
    contract = Contract(model.inputs)
    missing = [name for name in contract.names if name not in table.columns]
    if missing:
        raise ContractViolationError(f"{key}: {path.name}", [f"{name}: the column is not in the data" for name in missing])
    given = table[model.target].notna() if model.target in table.columns else table.index < 0
    kept, refused = _fitting(contract, table[~given])
    rows: dict[str, Candidate] = {}
    repeated = labelled_already = 0
    instances = contract.instances_of(contract.parse_table(kept, str(key)))
    for cells, instance in zip(kept.to_dict("records"), instances, strict=True):
        one = Candidate(row_id(key, cells, model.target, id_key), "table", {str(name): cell for name, cell in cells.items()}, instance)
        labelled_already += one.id in labelled
        repeated += one.id in rows
        if one.id not in labelled:
            rows[one.id] = one
    left_out = {
        "have a target already": int(given.sum()),
        "contradict the input schema": refused,
        "repeat another row": repeated,
        "are labelled already": labelled_already,
    }
    return Candidates(list(rows.values()), (), {reason: count for reason, count in left_out.items() if count})


def row_id(key: ModelKey, cells: Mapping[Any, Any], target: str, id_key: bytes) -> str:
    """The id of a table's row: brand, model, and a keyed hash of its cells except the target."""
    content = json.dumps(sorted((str(name), cell) for name, cell in cells.items() if name != target), ensure_ascii=False)
    return f"{key.brand}.{key.model}.row.{hmac.digest(id_key, content.encode(), 'sha256').hex()[:24]}"


def _fitting(contract: Contract, table: Any) -> tuple[Any, int]:
    """The rows that the contract takes, and how many it refuses."""
    import numpy as np

    _, refusals = contract.refuse_cells(table)
    bad = np.zeros(len(table), dtype=bool)
    for refusal in refusals:
        bad |= np.asarray(refusal.rows, dtype=bool)
    return table[~bad], int(bad.sum())
