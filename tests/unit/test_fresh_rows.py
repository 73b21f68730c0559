"""Which hold-out rows are new to the version in production."""

import uuid
from typing import Any

import pandas as pd

from brandhouse_flows.fresh_rows import find_fresh_rows
from brandhouse_flows.material import Material, prepare_material
from brandhouse_flows.planning import Plan, plan_training
from brandhouse_flows.snapshot_records import take_snapshot
from brandhouse_shared.brands import load_brand_module
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")


def material_of(workspace: Any, table: pd.DataFrame) -> tuple[Plan, Material, str]:
    workspace.write_table("casa", "homes", table)
    plan = plan_training(workspace.settings, CASA, str(uuid.uuid4()), "local")
    snapshot = take_snapshot(workspace.settings, plan.brand, "homes", workspace.ledger)
    return plan, prepare_material(plan, snapshot, load_brand_module(plan.brand, plan.model.entrypoint)), snapshot.hash_md5


class Production:
    """Of a version only what is asked: its key, and what it learned from."""

    def __init__(self, hash_md5: str) -> None:
        self.key = CASA.version(1)
        self.record = type("Record", (), {"snapshot_dataset": "homes", "snapshot_hash": hash_md5})


def test_rows_are_fresh_exactly_if_they_were_not_trained_on(workspace: Any, make_tables: Any) -> None:
    first = make_tables.casa()
    _, before, hash_md5 = material_of(workspace, first)
    plan, now, _ = material_of(workspace, pd.concat([first, make_tables.casa(seed=7)], ignore_index=True))
    fresh: Any = find_fresh_rows(plan, now, Production(hash_md5))  # type: ignore[arg-type]
    learned = set(before.split.train.tolist())  # the first table's rows keep their places
    assert fresh.tolist() == [place not in learned for place in now.split.holdout.tolist()]
    assert 0 < fresh.sum() < len(fresh)


def test_the_same_snapshot_is_fresh_as_a_whole_and_equal_rows_count_as_often_as_they_were_trained_on(
    workspace: Any, make_tables: Any
) -> None:
    plan, same, hash_md5 = material_of(workspace, make_tables.casa())
    fresh: Any = find_fresh_rows(plan, same, Production(hash_md5))  # type: ignore[arg-type]
    assert fresh.all()
    two = make_tables.casa().head(2)
    _, before, hash_md5 = material_of(workspace, pd.concat([two] * 40, ignore_index=True))
    plan, now, _ = material_of(workspace, pd.concat([two] * 120, ignore_index=True))
    of_equal: Any = find_fresh_rows(plan, now, Production(hash_md5))  # type: ignore[arg-type]
    expected = len(of_equal) * (1 - len(before.split.train) / 240)
    assert abs(of_equal.sum() - expected) <= 2, "of each value as many count as learned from as were"


def test_a_snapshot_that_is_gone_is_said(workspace: Any, make_tables: Any) -> None:
    plan, material, _ = material_of(workspace, make_tables.casa())
    answer = find_fresh_rows(plan, material, Production("0" * 32))  # type: ignore[arg-type]
    assert isinstance(answer, str) and answer.startswith("the rows that casa/price/v1 learned from cannot be read"), answer
