"""Bring a brand's data in and check them against every model's input schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brandhouse_flows.acceptance import Checked, check_model, check_models, models_on
from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.pulling import pull
from brandhouse_flows.snapshot_records import take_snapshot
from brandhouse_flows.sources import find_source, is_on_this_machine
from brandhouse_flows.steps import Step
from brandhouse_flows.uploads import take_upload
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import DatasetError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Ingested:
    """One dataset that is in.

    Attributes:
        snapshot: Its content.
        checked: What each model can learn from it.
        notes: What a person should know of the way in, one sentence each.
    """

    snapshot: Snapshot
    checked: Mapping[str, Checked]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> dict[str, int]:
        """Rows that each model can learn from."""
        return {model: one.rows for model, one in self.checked.items()}

    @property
    def quarantined(self) -> dict[str, int]:
        """Rows in quarantine, of the models that have any."""
        return {model: one.quarantined for model, one in self.checked.items() if one.quarantined}


def ingest(
    settings: Settings, brand: Brand, ledger: Ledger, step: Step, *, accept_new: bool = False, dataset: str | None = None
) -> list[Ingested]:
    """Take a snapshot of every dataset, or of one, and check the contract of every model on it.

    New data are checked before they are accepted: a file that no model can learn from never becomes a pointer.

    Raises:
        DatasetError: If a file is missing, unreadable, or not what its pointer names, or a source cannot be used.
        ContractViolationError: If the data contradict an input schema.
        RetryableError: If the data project is locked, a source does not answer, or the disk is full.
    """
    names = list(brand.config.datasets) if dataset is None else [find_dataset(brand, dataset)]
    return [_ingest_one(settings, brand, name, ledger, step, accept_new) for name in names]


def ingest_upload(settings: Settings, brand: Brand, dataset: str | None, path: Path, ledger: Ledger, step: Step) -> Ingested:
    """Make a file handed over the dataset's new snapshot, if every model can learn from it.

    Args:
        settings: Of this process.
        brand: Whose data they are.
        dataset: Which; None: the only one that takes files by hand.
        path: The file.
        ledger: Where the snapshot is recorded.
        step: How a step is carried out.

    Raises:
        DatasetError: If there is not just one such dataset, or the file cannot be its data.
        ContractViolationError: If the data contradict an input schema; the snapshot stays as it was.
    """
    name = _upload_dataset(brand) if dataset is None else find_dataset(brand, dataset)
    checked: dict[str, Checked] = {}

    def accept(arrived: Snapshot, table: pd.DataFrame) -> None:
        checked.update(check_models(settings, brand, arrived, table))

    return Ingested(step(f"check and take {path.name}", take_upload, settings, brand, name, path, ledger, accept), checked)


def find_dataset(brand: Brand, name: str) -> str:
    """Return the name of a declared dataset.

    Raises:
        DatasetError: If there is none of that name.
    """
    if name not in brand.config.datasets:
        raise DatasetError(f"{brand.name}: unknown dataset {name[:80]!r}; known: {join_bounded(brand.config.datasets)}")
    return name


def _upload_dataset(brand: Brand) -> str:
    names = [name for name, declared in brand.config.datasets.items() if declared.source.kind == "upload"]
    if len(names) != 1:
        found = f"{len(names)} datasets take files by hand ({join_bounded(names)})" if names else "no dataset takes files by hand"
        raise DatasetError(f'{brand.name}: {found}; name one with --dataset, and give it source = {{ kind = "upload" }} in brand.toml')
    return names[0]


def _ingest_one(settings: Settings, brand: Brand, name: str, ledger: Ledger, step: Step, accept_new: bool) -> Ingested:
    source = brand.config.datasets[name].source
    if not is_on_this_machine(source) and source.kind != "upload":
        pulled = step(f"pull {name}", pull, settings, brand, name, ledger)
        return Ingested(pulled.snapshot, pulled.checked, pulled.notes)
    if accept_new and is_on_this_machine(source):
        step(f"look at {name}", _look, settings, brand, name)
    snapshot = step(f"snapshot {name}", _take, settings, brand, name, ledger, accept_new)
    checked = {key: step(f"contract {key}", check_model, settings, brand, key, snapshot) for key in models_on(brand, name)}
    return Ingested(snapshot, checked)


def _look(settings: Settings, brand: Brand, dataset: str) -> None:
    declared = brand.config.datasets[dataset]
    source = find_source(brand, dataset)
    if source.suffixes[-1:] != Path(declared.file).suffixes[-1:]:  # a reader goes by the ending, which the source's name need not have
        return
    check_models(settings, brand, Snapshot(dataset, declared.file, hash_file(source), source.stat().st_size, source, changed=True))


def _take(settings: Settings, brand: Brand, dataset: str, ledger: Ledger, accept_new: bool) -> Snapshot:
    return take_snapshot(settings, brand, dataset, ledger, accept_new=accept_new)
