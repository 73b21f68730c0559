"""Bring a brand's data in and check them against every model's input schema."""

from dataclasses import dataclass
from pathlib import Path

from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.material import read_learnable_rows, take_snapshot
from brandhouse_flows.sources import find_source
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

    New data are checked before they are accepted: a file that no model can learn from never becomes a pointer.

    Raises:
        DatasetError: If a file is missing, unreadable, or not what its pointer names.
        ContractViolationError: If the data contradict an input schema.
        RetryableError: If the data project is locked or the disk is full.
    """
    ingested = []
    for name in brand.config.datasets:
        if accept_new:
            step(f"look at {name}", _look, brand, name)
        snapshot = step(f"snapshot {name}", _take, settings, brand, name, ledger, accept_new)
        rows = {key: step(f"contract {key}", _check, brand, key, snapshot) for key in _models_on(brand, name)}
        ingested.append(Ingested(snapshot, rows))
    return ingested


def _models_on(brand: Brand, dataset: str) -> list[str]:
    return [key for key, model in brand.config.models.items() if model.dataset == dataset]


def _look(brand: Brand, dataset: str) -> None:
    declared = brand.config.datasets[dataset]
    source = find_source(brand, dataset)
    if source.suffixes[-1:] != Path(declared.file).suffixes[-1:]:  # a reader goes by the ending, which the source's name need not have
        return
    for key in _models_on(brand, dataset):
        _check(brand, key, Snapshot(dataset, declared.file, "", source.stat().st_size, source, changed=True))


def _take(settings: Settings, brand: Brand, dataset: str, ledger: Ledger, accept_new: bool) -> Snapshot:
    return take_snapshot(settings, brand, dataset, ledger, accept_new=accept_new)


def _check(brand: Brand, model: str, snapshot: Snapshot) -> int:
    declared = brand.model(model)
    table, _ = read_learnable_rows(brand, declared, f"{brand.name}/{model}", snapshot)
    return len(Contract(declared.inputs).parse_table(table, f"{brand.name}/{model}"))
