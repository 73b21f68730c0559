"""Rows of a table that could be labelled, and those that could not, counted by reason."""

from pathlib import Path
from typing import Any

import pytest

from brandhouse_flows.label_candidates import read_candidates, row_id
from brandhouse_shared.errors import ContractViolationError, DatasetError
from brandhouse_shared.names import ModelKey

VILLA = ModelKey("villa", "sold")
KEY = b"k" * 32


def candidates(workspace: Any, tmp_path: Path, text: str, labelled: Any = ()) -> Any:
    (tmp_path / "new.csv").write_text(text)
    return read_candidates(workspace.brand("villa"), VILLA, tmp_path / "new.csv", KEY, labelled)


def test_rows_are_checked_and_those_left_out_are_counted(workspace: Any, tmp_path: Path) -> None:
    rows = ["1,true,lake,,a", "1,true,lake,,a", "2,true,lake,yes,a", "999,true,lake,,a", "x,,lake,,a", "3,no,hills,,b"]
    text = "\n".join(["Days on offer,pool,region,sold,note", *rows, ""])
    found = candidates(workspace, tmp_path, text)
    assert found.left_out == {"have a target already": 1, "contradict the input schema": 2, "repeat another row": 1}
    assert [row.instance for row in found.rows] == [
        {"Days on offer": 1, "pool": True, "region": "lake"},
        {"Days on offer": 3, "pool": False, "region": "hills"},
    ]
    assert found.rows[0].row["note"] == "a", "all cells are kept, so that the row can be learned from"
    again = candidates(workspace, tmp_path, text, labelled={found.rows[0].id})
    assert [row.id for row in again.rows] == [found.rows[1].id]


def test_ids_name_the_model_and_give_no_value_away(workspace: Any, tmp_path: Path) -> None:
    (row,) = candidates(workspace, tmp_path, "Days on offer,pool,region\n1,true,lake\n").rows
    (with_target,) = candidates(workspace, tmp_path, "region,sold,pool,Days on offer\nlake,,true,1\n").rows
    assert row.id.startswith("villa.sold.row.") and row.id == with_target.id, "the same row whatever the order of the columns"
    assert row_id(VILLA, row.row, "sold", b"other" * 8) != row.id, "nobody without the brand's secret can try values"


def test_a_table_that_does_not_fit_is_refused(workspace: Any, tmp_path: Path) -> None:
    with pytest.raises(ContractViolationError, match="pool: the column is not in the data"):
        candidates(workspace, tmp_path, "Days on offer,region\n1,lake\n")
    with pytest.raises(DatasetError, match="does not exist"):
        read_candidates(workspace.brand("villa"), VILLA, tmp_path / "none.csv", KEY, ())
