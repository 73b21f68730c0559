"""Held-out rows as a client would send them, with the truth beside them: for demonstrations, checks and the command."""

from dataclasses import dataclass
from typing import Any

from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.material import read_learnable_rows
from brandhouse_flows.splits import split_rows
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """One row that a version's training held out.

    Attributes:
        instance: As a request holds it.
        truth: The target's value as in the data.
    """

    instance: dict[str, Any]
    truth: Scalar


def sample_holdout(settings: Settings, brand: Brand, version: Version, count: int) -> list[HeldOutRow]:
    """Return up to `count` rows that the version's training held out, spread over the hold-out.

    Raises:
        DatasetError: If the snapshot cannot be fetched any more.
    """
    record = version.record
    model = brand.model(record.key.model)
    path = DataProject(brand, settings).fetch(model.dataset, record.snapshot_hash)
    file = brand.config.datasets[model.dataset].file
    snapshot = Snapshot(model.dataset, file, record.snapshot_hash, path.stat().st_size, path, changed=False)
    subject = str(record.key)
    table, target = read_learnable_rows(brand, model, subject, snapshot)
    holdout = split_rows(table, model, target.values, subject).holdout
    chosen = holdout[:: max(1, len(holdout) // count)][:count]
    contract = Contract(model.inputs)
    instances = contract.instances_of(contract.parse_table(table.iloc[chosen], subject))
    truths = [target.classes[int(code)] if target.classes else float(code) for code in target.values[chosen]]
    return [HeldOutRow(instance, truth) for instance, truth in zip(instances, truths, strict=True)]
