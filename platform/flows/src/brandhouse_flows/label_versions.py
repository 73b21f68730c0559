"""What the versions of a model answer to rows, for choosing what to label and for judging labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.material import read_learnable_rows
from brandhouse_flows.splits import split_rows
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import ArtifactStore, Manifest, read_manifest
from brandhouse_shared.brands import Brand, unload_brand
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, UnknownVersionError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

Floats = NDArray[np.float64]

MAX_OTHERS = 4
"""Versions that are asked beside production: the newest."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one model that can be asked.

    Attributes:
        production: The version in production, or else the newest.
        others: Further versions that predict the same thing, newest first; baselines among them.
        manifest: Of the first.
    """

    brand: Brand
    settings: Settings
    store: ArtifactStore
    production: Version
    others: tuple[Version, ...]
    manifest: Manifest

    def answer(self, version: Version, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Let a version answer request rows: (rows,) numbers, or (rows, classes) probabilities.

        Raises:
            ContractViolationError: If a row contradicts the version's input schema.
            ArtifactCorruptError: If its artifact is damaged.
        """
        folder = self.store.find(version.record.key, version.record.artifact_digest)
        manifest = read_manifest(folder)
        try:
            scores = load_predictor(folder, manifest).predict(manifest.contract.parse_rows(rows))
        finally:
            unload_brand(self.brand.name)  # a python version brought the brand's code of its own time
        return np.asarray(scores[:, 0] if manifest.task is Task.REGRESSION and scores.ndim == 2 else scores, dtype=np.float64)

    def holdout(self) -> tuple[Floats, Floats]:
        """What the production version answers to its own hold-out, and the truth; of a regression.

        Raises:
            DatasetError: If its snapshot cannot be fetched any more.
        """
        table, truth = self._holdout_rows()
        contract = self.manifest.contract
        rows = contract.instances_of(contract.parse_table(table, str(self.production.key)))
        return self.answer(self.production, rows), truth

    def target_range(self) -> tuple[float, float]:
        """Smallest and largest target of the snapshot that production was trained on; of a regression."""
        _, values = self._learnable()
        return float(values.min()), float(values.max())

    def _learnable(self) -> tuple[Any, Floats]:
        record = self.production.record
        model = self.brand.model(record.key.model)
        path = DataProject(self.brand, self.settings).fetch(model.dataset, record.snapshot_hash)
        file = self.brand.config.datasets[model.dataset].file
        snapshot = Snapshot(model.dataset, file, record.snapshot_hash, path.stat().st_size, path, changed=False)
        table, target = read_learnable_rows(self.brand, model, str(record.key), snapshot)
        return table, np.asarray(target.values, dtype=np.float64)

    def _holdout_rows(self) -> tuple[Any, Floats]:
        table, values = self._learnable()
        record = self.production.record
        holdout = split_rows(table, self.brand.model(record.key.model), values, str(record.key)).holdout
        return table.iloc[holdout], values[holdout]


def open_versions(settings: Settings, brand: Brand, key: ModelKey, ledger: Ledger, store: ArtifactStore) -> Versions:
    """Find the versions of a model.

    Raises:
        UnknownVersionError: If it has none yet.
    """
    found = ledger.versions(key)
    production = next((version for version in found if version.stage == "production"), found[0] if found else None)
    if production is None:
        raise UnknownVersionError(key, f"yet; train one with `brandhouse train {key}`", [])
    manifest = read_manifest(store.find(key, production.record.artifact_digest))
    same = (production.record.task, production.record.target)
    others = [one for one in found if one.number != production.number and (one.record.task, one.record.target) == same]
    return Versions(brand, settings, store, production, tuple(others[:MAX_OTHERS]), manifest)


def ask_others(versions: Versions, rows: Sequence[Mapping[str, Any]]) -> dict[int, Floats]:
    """Let the other versions answer, by number; one that cannot answer these rows, or knows other classes, is left out."""
    answers = {}
    for version in versions.others:
        try:
            folder = versions.store.find(version.record.key, version.record.artifact_digest)
            if read_manifest(folder).classes == versions.manifest.classes:
                answers[version.number] = versions.answer(version, rows)
        except (BrandhouseError, ContractViolationError):
            continue  # an older schema or a missing artifact: the version says nothing about these rows
    return answers
