"""Bring a brand's data in and check them against every model's input schema."""

from dataclasses import dataclass

from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.material import read_learnable_rows, take_snapshot
from brandhouse_flows.steps import Step
from brandhouse_shared.brands import Brand
from brandhouse_shared.contracts import Contract
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Ingested:
    """One dataset that is in.

    Attributes:
        snapshot: Its content.
        rows: Rows that have a target, by model.
    """

    snapshot: Snapshot
    rows: dict[str, int]


def ingest(settings: Settings, brand: Brand, ledger: Ledger, step: Step, *, accept_new: bool = False) -> list[Ingested]:
    """Take a snapshot of every dataset and check the contract of every model on it.

    Raises:
        DatasetError: If a file is missing, unreadable, or not what its pointer names.
        ContractViolationError: If the data contradict an input schema.
        RetryableError: If the data project is locked or the disk is full.
    """
    ingested = []
    for name in brand.config.datasets:
        snapshot = step(f"snapshot {name}", _take, settings, brand, name, ledger, accept_new)
        rows = {key: step(f"contract {key}", _check, brand, key, snapshot) for key, model in brand.config.models.items() if model.dataset == name}
        ingested.append(Ingested(snapshot, rows))
    return ingested


def _take(settings: Settings, brand: Brand, dataset: str, ledger: Ledger, accept_new: bool) -> Snapshot:
    return take_snapshot(settings, brand, dataset, ledger, accept_new=accept_new)


def _check(brand: Brand, model: str, snapshot: Snapshot) -> int:
    declared = brand.model(model)
    table, _ = read_learnable_rows(brand, declared, f"{brand.name}/{model}", snapshot)
    return len(Contract(declared.inputs).parse_table(table, f"{brand.name}/{model}"))
