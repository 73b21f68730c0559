"""Ask a source that is elsewhere, check what it gives, and only then let it in.

Pulling is the only time such a source is asked: a training uses what the pointer names. New data need no further yes,
for bringing them is what the source is declared for; the contract decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brandhouse_flows.acceptance import Checked, check_models
from brandhouse_flows.arrivals import arriving_file
from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.feeds import Feed, Order
from brandhouse_flows.http_feed import collect_url
from brandhouse_flows.pointers import Pointer
from brandhouse_flows.s3_feed import collect_object
from brandhouse_flows.snapshot_records import record_snapshot
from brandhouse_flows.sql_feed import collect_query
from brandhouse_flows.stream_feed import collect_batches
from brandhouse_flows.topic_feed import collect_messages
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

FEEDS: Mapping[str, Feed] = {
    "sql": collect_query,
    "s3": collect_object,
    "http": collect_url,
    "stream": collect_batches,
    "topic": collect_messages,
}


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one question to a source.

    Attributes:
        snapshot: The dataset's snapshot now.
        checked: What each model can learn from it.
        notes: What a person should know, one sentence each.
    """

    snapshot: Snapshot
    checked: Mapping[str, Checked]
    notes: tuple[str, ...]


def pull(settings: Settings, brand: Brand, dataset: str, ledger: Ledger) -> Pulled:
    """Bring in what a dataset's source has that is new.

    Raises:
        DatasetError: If the source cannot be used as declared, or never had anything.
        ContractViolationError: If the new data contradict an input schema; the snapshot stays as it was.
        RetryableError: If the source does not answer, or the data project is locked.
    """
    project = DataProject(brand, settings)
    with arriving_file(settings, brand, dataset) as target:
        pointer = project.pointer(dataset) if project.has_pointer(dataset) else None
        arrival = FEEDS[brand.config.datasets[dataset].source.kind](_order(settings, brand, dataset, project, pointer, target))
        if not arrival.is_new:
            if pointer is None:
                raise DatasetError(f"{brand.name}/{dataset}: nothing has arrived yet. {'; '.join(arrival.notes)}".rstrip())
            snapshot = project.import_source(dataset)
            checked = check_models(settings, brand, snapshot)
        else:
            checked = check_models(settings, brand, _arrived(brand, dataset, target))
            snapshot = project.put(dataset, target, arrival.position, after=pointer)
            arrival.settle()
    record_snapshot(ledger, brand, snapshot)
    return Pulled(snapshot, checked, arrival.notes)


def _order(settings: Settings, brand: Brand, dataset: str, project: DataProject, pointer: Pointer | None, target: Path) -> Order:
    def find_present() -> Path:
        if pointer is None:
            raise DatasetError(f"{brand.name}/{dataset}: there is no snapshot yet")
        return project.fetch(dataset, pointer.hash_md5)

    return Order(settings, brand, dataset, pointer, find_present, target)


def _arrived(brand: Brand, dataset: str, target: Path) -> Snapshot:
    """What arrived, as if it were let in: to be checked first."""
    file = brand.config.datasets[dataset].file
    return Snapshot(dataset, file, hash_file(target), target.stat().st_size, target, changed=True)
