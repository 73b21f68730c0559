"""Whether the sample beside a model shows a person's row: some held-out rows are kept in an artifact where no field is private."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from brandhouse_flows.data_project import DataProject
from brandhouse_flows.datasets import read_table
from brandhouse_shared.artifacts import SAMPLE_FILE, load_artifact_store
from brandhouse_shared.brands import Brand
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    from brandhouse_aftercare.subject_search import SnapshotHit


def shows_person(settings: Settings, brand: Brand, version: Version, hits: "Sequence[SnapshotHit]") -> bool:
    """Whether a version's sample holds a row that is equal to one of the person's in all input fields.

    Where that cannot be found out, since the artifact is gone or its fields are others today, it counts as shown.
    """
    try:
        folder = load_artifact_store(settings).find(version.record.key, version.record.artifact_digest)
        sample = json.loads((folder / SAMPLE_FILE).read_bytes()) if (folder / SAMPLE_FILE).is_file() else []
    except ArtifactCorruptError:
        return False  # what is not there shows nothing
    shown = [one["instance"] for one in sample if not one.get("invented")]
    if not shown:
        return False
    try:
        return any(row in shown for hit in hits if _is_of(version, hit) for row in _instances(settings, brand, version, hit))
    except BrandhouseError:
        return True


def _is_of(version: Version, hit: "SnapshotHit") -> bool:
    return (hit.dataset, hit.hash_md5) == (version.record.snapshot_dataset, version.record.snapshot_hash)


def _instances(settings: Settings, brand: Brand, version: Version, hit: "SnapshotHit") -> list[dict[str, Any]]:
    """The person's rows as a request would hold them."""
    contract = Contract(brand.model(version.record.key.model).inputs)
    table = read_table(brand.config.datasets[hit.dataset], DataProject(brand, settings).fetch(hit.dataset, hit.hash_md5))
    rows = table.iloc[list(hit.places)].reset_index(drop=True)
    return [dict(instance) for instance in contract.instances_of(contract.parse_table(rows, str(version.record.key)))]
