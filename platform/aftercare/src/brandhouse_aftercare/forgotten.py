"""What nobody uses: models that are never asked, artifacts, snapshots and keys that only take space, and what has no owner any more.

Only what is provable is listed. A model whose use was not measured long enough is not said to be idle.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from brandhouse_aftercare.cost_measuring import SERVING
from brandhouse_aftercare.cost_report import MANY
from brandhouse_aftercare.disk_use import ARTIFACTS, BY_BRAND, BY_MODEL, size_of
from brandhouse_flows.data_places import object_path
from brandhouse_flows.remotes import is_url, remote_address
from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_shared.brands import Brand, brand_folders
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

DAYS = 30
"""So long nobody must have used something."""

MEASURED_SHARE = 0.9
"""Of these days that measures must cover before a model is called idle."""

Kind = Literal["idle model", "retired artifact", "unused snapshot", "unused key", "no owner"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One thing that nobody uses.

    Attributes:
        kind: What it is.
        brand: Whose it is, or was.
        name: Model, version, hash or id.
        size_bytes: That it takes; None: none, or not known.
        since: Since when; None: not known.
        advice: What to do.
    """

    kind: Kind
    brand: str
    name: str
    size_bytes: int | None
    since: datetime | None
    advice: str


def find_forgotten(settings: Settings, ledger: Ledger, brands: Sequence[Brand], now: datetime, days: int = DAYS) -> list[Forgotten]:
    """List what nobody has used for some days, brand by brand; what no brand declares comes last.

    Args:
        settings: Of this process.
        ledger: Says what is in production, retired, trained on, and what was asked.
        brands: To look at; things without owner are listed only if these are all.
        now: Aware, UTC.
        days: That it must be unused.
    """
    since = now - timedelta(days=days)
    looks: tuple[Callable[[_Look], Iterator[Forgotten]], ...] = (_idle_models, _retired_artifacts, _unused_snapshots, _unused_keys)
    found = [one for brand in brands for look in looks for one in look(_Look(settings, ledger, brand, since))]
    declared = {folder.name for folder in brand_folders(settings.brands_dir)}
    return [*found, *(_without_owner(settings, ledger, brands) if {brand.name for brand in brands} >= declared else [])]


@dataclass(frozen=True, slots=True)
class _Look:
    settings: Settings
    ledger: Ledger
    brand: Brand
    since: datetime

    def serving(self, model: str | None) -> list[Entry]:
        """Measures of what a model answered, oldest first; None: of all models."""
        return self.ledger.entries(EntryKind.COST, self.brand.name, model, SERVING, limit=MANY, oldest_first=True)


def _idle_models(look: _Look) -> Iterator[Forgotten]:
    for key in look.brand.model_keys:
        version = look.ledger.production(key)
        if version is None or _entered(look.ledger, version) > look.since:
            continue
        if _was_not_asked(look.serving(key.model), look.since):
            advice = f"brandhouse retire {key} --reason ..., if nobody needs it"
            yield Forgotten("idle model", key.brand, str(version.key), None, look.since, advice)


def _entered(ledger: Ledger, version: Version) -> datetime:
    event = ledger.stage_events(version.record.key, after_seq=version.stage_seq - 1, limit=1)
    return event[0].at


def _was_not_asked(measures: Sequence[Entry], since: datetime) -> bool:
    """Whether measures that cover the time since then saw no request; one that reaches back behind it counts as well."""
    recent = [entry for entry in measures if entry.at >= since]
    if not recent or recent[-1].at <= since:
        return False
    covered = (recent[-1].at - max(since, measures[0].at)) / (recent[-1].at - since)
    return covered >= MEASURED_SHARE and not any(entry.facts.get("requests") for entry in recent)


def _retired_artifacts(look: _Look) -> Iterator[Forgotten]:
    store = BentoArtifactStore(look.settings.home)
    for key in look.brand.model_keys:
        versions = look.ledger.versions(key)
        kept = {version.record.artifact_digest for version in versions if version.stage is not Stage.RETIRED}
        way_back = _way_back(look.ledger, key)
        for version in versions:
            digest = version.record.artifact_digest
            if digest in kept or version.number == way_back or _entered(look.ledger, version) > look.since:
                continue
            size = size_of(store.path_of(key, digest))
            if size:
                advice = "remove its folder, if it need not be replayed bit by bit; a training from its record makes it again"
                yield Forgotten("retired artifact", key.brand, str(version.key), size, _entered(look.ledger, version), advice)


def _way_back(ledger: Ledger, key: ModelKey) -> int | None:
    """The version that a rollback would bring back: it was in production last, and is not now."""
    production = ledger.production(key)
    left = [event for event in ledger.stage_events(key, limit=MANY) if event.from_stage is Stage.PRODUCTION]
    numbers = [event.version.number for event in left if production is None or event.version.number != production.number]
    return numbers[-1] if numbers else None


def _unused_snapshots(look: _Look) -> Iterator[Forgotten]:
    brand = look.brand
    used = {version.record.snapshot_hash for key in brand.model_keys for version in look.ledger.versions(key)}
    newest: set[str] = set()
    for snapshot in look.ledger.snapshots(brand.name):
        is_newest = snapshot.dataset not in newest
        newest.add(snapshot.dataset)
        if is_newest or snapshot.hash_md5 in used or snapshot.recorded_at > look.since:
            continue
        size = sum(path.stat().st_size for path in _copies(look.settings, brand, snapshot.hash_md5) if path.is_file())
        if size:
            name = f"{snapshot.dataset} {snapshot.hash_md5}"
            advice = "no version learned from it; DVC's `gc` removes it from cache and remote"
            yield Forgotten("unused snapshot", brand.name, name, size, snapshot.recorded_at, advice)


def _copies(settings: Settings, brand: Brand, hash_md5: str) -> list[Path]:
    remote = remote_address(brand, settings)
    stores = [settings.home / "cache" / "dvc" / brand.name, *([] if is_url(remote) else [Path(remote)])]
    return [object_path(store, hash_md5) for store in stores]


def _unused_keys(look: _Look) -> Iterator[Forgotten]:
    """Keys of a brand that nobody asked anything since they were made. Which key asked what is not kept."""
    measures = look.serving(None)
    for key in look.ledger.keys(look.brand.name):
        if key.revoked_at is not None or key.created_at > look.since:
            continue
        by_model = [[entry for entry in measures if entry.model == model] for model in look.brand.config.models]
        if all(_was_not_asked(entries, key.created_at) for entries in by_model):
            advice = f"brandhouse keys revoke {look.brand.name} --key-id {key.key_id} --reason ..."
            yield Forgotten("unused key", look.brand.name, key.key_id, None, key.created_at, advice)


def _without_owner(settings: Settings, ledger: Ledger, brands: Sequence[Brand]) -> Iterator[Forgotten]:
    declared = {key for brand in brands for key in brand.model_keys}
    for row in ledger.status_rows():
        key = ModelKey(row.brand, row.model)
        if key not in declared and row.stage is not Stage.RETIRED:
            advice = f"no brand.toml declares it; declare it again, then `brandhouse retire {key} --reason ...`"
            yield Forgotten("no owner", row.brand, str(row.key), None, row.promoted_at or row.created_at, advice)
    known = {folder.name for folder in brand_folders(settings.brands_dir)}
    for place in (*BY_BRAND, *BY_MODEL, ARTIFACTS, "remotes"):
        folder = settings.home / place
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.is_dir() and path.name not in known and not path.name.startswith("."):
                advice = "files of a brand that has no folder; see docs/runbooks/budget.md before you remove them"
                yield Forgotten("no owner", path.name, f"{place}/{path.name}", size_of(path), None, advice)
