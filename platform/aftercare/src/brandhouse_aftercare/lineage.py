"""From snapshot to deployment and back: which versions came from a snapshot, where they are, and how much they answered.

A graph of five kinds of nodes, in this order: snapshot, run, version, stage, predictions. It is read from the ledger and the
prediction log; nothing is fetched.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from brandhouse_aftercare.erasure_records import erased_snapshots
from brandhouse_serving.prediction_counts import count_by_version
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import BrandhouseError, UnknownVersionError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import EntryKind, Run, SnapshotRecord, Version
from brandhouse_shared.names import ModelKey, is_name, parse_version
from brandhouse_shared.settings import Settings

Kind = Literal["snapshot", "run", "version", "stage", "predictions"]
KINDS: tuple[Kind, ...] = ("snapshot", "run", "version", "stage", "predictions")

MIN_PREFIX = 6
MANY = 100_000
_PREFIX = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},32}}")


class UnknownTargetError(BrandhouseError):
    """Nothing is known under the name whose lineage was asked for."""

    def __init__(self, target: str, why: str, known: Sequence[str]) -> None:
        super().__init__(
            f"{target[:80]!r} {why}; allowed: BRAND, BRAND/MODEL, BRAND/MODEL/v3, or the beginning of a snapshot's hash "
            f"({MIN_PREFIX} digits or more); known: {join_bounded(known)}"
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One thing of the way.

    Attributes:
        id: Unlike that of every other node of the graph.
        label: In a few words.
        remarks: What is worth knowing of it: erased, marked, gates failed.
        facts: Plain values for machines.
    """

    id: str
    kind: Kind
    label: str
    remarks: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """What came of what."""

    source: str
    target: str


@dataclass(frozen=True)
class Lineage:
    """A graph; nodes in the order of the way, the oldest first."""

    target: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def targets_of(self, node: Node) -> list[Node]:
        """What came of a node."""
        wanted = {edge.target for edge in self.edges if edge.source == node.id}
        return [other for other in self.nodes if other.id in wanted]

    @property
    def roots(self) -> list[Node]:
        """Nodes that came of nothing in the graph."""
        targets = {edge.target for edge in self.edges}
        return [node for node in self.nodes if node.id not in targets]

    @property
    def version_count(self) -> int:
        """How many versions are in it."""
        return sum(node.kind == "version" for node in self.nodes)

    @property
    def prediction_count(self) -> int:
        """How many predictions the log holds of them."""
        return sum(node.facts["count"] for node in self.nodes if node.kind == "predictions")

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        counts = {"versions": self.version_count, "predictions": self.prediction_count}
        return {
            "target": self.target,
            **counts,
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
        }


@dataclass(frozen=True, slots=True)
class _Way:
    """The records of one version's way."""

    version: Version
    run: Run | None
    count: int
    marks: tuple[str, ...]


def read_lineage(settings: Settings, ledger: Ledger, target: str) -> Lineage:
    """Draw the graph around a brand, a model, a version or a snapshot.

    Args:
        settings: Of this process.
        ledger: The record.
        target: `BRAND`, `BRAND/MODEL`, `BRAND/MODEL/v3`, or the beginning of a snapshot's hash.

    Raises:
        UnknownTargetError: If nothing is known under that name, or several snapshots begin so.
        UnknownVersionError: If the model has no version of that number.
    """
    brands = _known_brands(settings)
    name, *rest = target.strip("/").split("/")
    if not rest and name not in brands and _PREFIX.fullmatch(name):
        return _of_snapshot(settings, ledger, name, brands)
    if name not in brands or len(rest) > 2 or not all(is_name(part) for part in rest[:1]):
        raise UnknownTargetError(target, "is no brand, model, version or snapshot", brands)
    return _of_models(settings, ledger, target, name, rest)


def _known_brands(settings: Settings) -> list[str]:
    """Brands that have a folder, and those that left and whose answers are still kept."""
    kept = settings.home / "predictions"
    logged = [path.name for path in kept.iterdir() if is_name(path.name)] if kept.is_dir() else []
    return sorted({*(folder.name for folder in brand_folders(settings.brands_dir)), *logged})


def _of_models(settings: Settings, ledger: Ledger, target: str, brand: str, rest: Sequence[str]) -> Lineage:
    known = _models_of(settings, ledger, brand)
    if rest and ModelKey(brand, rest[0]) not in known:
        raise UnknownTargetError(target, f"is no model of {brand}", [str(key) for key in known])
    keys = [ModelKey(brand, rest[0])] if rest else known
    ways = [way for key in keys for way in _ways(settings, ledger, key)]
    if len(rest) == 2:
        number = parse_version(rest[1])
        numbers = [f"v{way.version.number}" for way in ways]
        ways = [way for way in ways if way.version.number == number]
        if not ways:
            raise UnknownVersionError(keys[0], f"v{number}", numbers)
    hashes = {(way.version.record.snapshot_dataset, way.version.record.snapshot_hash) for way in ways}
    snapshots = [one for one in ledger.snapshots(brand) if not rest or (one.dataset, one.hash_md5) in hashes]
    return _draw(ledger, target, snapshots, ways)


def _of_snapshot(settings: Settings, ledger: Ledger, prefix: str, brands: Sequence[str]) -> Lineage:
    found = [one for brand in brands for one in ledger.snapshots(brand) if one.hash_md5.startswith(prefix)]
    hashes = sorted({one.hash_md5 for one in found})
    if len(hashes) != 1:
        raise UnknownTargetError(
            prefix, "is the beginning of several snapshots' hashes" if hashes else "is no snapshot's hash", hashes or brands
        )
    ways = [
        way for brand in {one.brand for one in found} for key in _models_of(settings, ledger, brand) for way in _ways(settings, ledger, key)
    ]
    return _draw(ledger, hashes[0], found, [way for way in ways if way.version.record.snapshot_hash == hashes[0]])


def _models_of(settings: Settings, ledger: Ledger, brand: str) -> list[ModelKey]:
    """Models that have a version or a run, whether or not the brand still declares them."""
    return sorted({run.record.key for run in ledger.runs(limit=MANY) if run.record.key.brand == brand} | _registered(ledger, brand))


def _registered(ledger: Ledger, brand: str) -> set[ModelKey]:
    return {ModelKey(row.brand, row.model) for row in ledger.status_rows() if row.brand == brand}


def _ways(settings: Settings, ledger: Ledger, key: ModelKey) -> list[_Way]:
    counts: Counter[int] = count_by_version(settings.home, key)
    runs = {run.record.run_id: run for run in ledger.runs(key, limit=MANY)}
    marks = ledger.entries(EntryKind.MARK, key.brand, key.model, oldest_first=True, limit=MANY)
    return [
        _Way(
            version,
            runs.get(version.record.run_id),
            counts[version.number],
            tuple(dict.fromkeys(mark.name for mark in marks if mark.number == version.number)),
        )
        for version in sorted(ledger.versions(key), key=lambda one: one.number)
    ]


def _draw(ledger: Ledger, target: str, snapshots: Iterable[SnapshotRecord], ways: Sequence[_Way]) -> Lineage:
    nodes: dict[str, Node] = {}
    edges: dict[Edge, None] = {}
    erased = {
        brand: erased_snapshots(ledger, brand) for brand in {one.brand for one in snapshots} | {way.version.key.brand for way in ways}
    }
    for one in sorted(snapshots, key=lambda one: one.recorded_at):
        _add(nodes, _snapshot_node(one, erased[one.brand]))
    for way in ways:
        chain = _chain(way, nodes, erased[way.version.key.brand])
        for node in chain:
            _add(nodes, node)
        for before, after in pairwise(chain):
            edges[Edge(before.id, after.id)] = None
    ordered = sorted(nodes.values(), key=lambda node: KINDS.index(node.kind))
    return Lineage(target, tuple(ordered), tuple(edges))


def _add(nodes: dict[str, Node], node: Node) -> None:
    nodes.setdefault(node.id, node)


def _chain(way: _Way, nodes: dict[str, Node], erased: dict[str, str | None]) -> list[Node]:
    record = way.version.record
    name = _snapshot_id(record.key.brand, record.snapshot_dataset, record.snapshot_hash)
    snapshot = nodes.get(name) or Node(
        name, "snapshot", f"{record.key.brand}/{record.snapshot_dataset} {record.snapshot_hash[:12]}", ("not in the ledger",)
    )
    return [snapshot, _run_node(way), _version_node(way), _stage_node(way), _predictions_node(way)]


def _snapshot_id(brand: str, dataset: str, hash_md5: str) -> str:
    return f"snapshot {brand}/{dataset} {hash_md5}"


def _snapshot_node(one: SnapshotRecord, erased: dict[str, str | None]) -> Node:
    remarks: tuple[str, ...] = ()
    if one.hash_md5 in erased:
        after = erased[one.hash_md5]
        remarks = (f"erased, replaced by {after[:12]}" if after else "erased",)
    label = f"{one.brand}/{one.dataset} {one.hash_md5[:12]}, {one.rows:,} rows, {one.recorded_at:%Y-%m-%d}"
    return Node(_snapshot_id(one.brand, one.dataset, one.hash_md5), "snapshot", label, remarks, one.model_dump(mode="json"))


def _run_node(way: _Way) -> Node:
    record = way.version.record
    dirty = ("the work tree differed from the commit",) if record.git_dirty else ()
    label = f"run {record.run_id[:8]}, commit {record.git_commit[:8]}"
    facts: dict[str, Any] = {
        "run_id": record.run_id,
        "git_commit": record.git_commit,
        "flow_run_url": record.flow_run_url,
        "lock_hash": record.lock_hash,
    }
    if way.run is not None:
        label += f", by {way.run.record.actor} on {way.run.record.started_at:%Y-%m-%d}"
        facts |= {"outcome": way.run.outcome, "actor": way.run.record.actor}
    return Node(f"run {record.run_id}", "run", label, dirty, facts)


def _version_node(way: _Way) -> Node:
    record = way.version.record
    failed = () if record.gates_passed else ("gates failed",)
    facts = {"version": str(way.version.key), "artifact_digest": record.artifact_digest, "metric": record.metric, "score": record.score}
    return Node(
        f"version {way.version.key}", "version", f"{way.version.key}, {record.metric} {record.score:.4g}", (*failed, *way.marks), facts
    )


def _stage_node(way: _Way) -> Node:
    return Node(
        f"stage {way.version.key}", "stage", str(way.version.stage), (), {"stage": str(way.version.stage), "share": way.version.share}
    )


def _predictions_node(way: _Way) -> Node:
    return Node(f"predictions {way.version.key}", "predictions", f"{way.count:,} predictions in the log", (), {"count": way.count})


def write_picture(lineage: Lineage, path: Path) -> None:
    """Write the graph as an SVG file."""
    from brandhouse_aftercare.lineage_picture import render_svg

    path.write_text(render_svg(lineage), encoding="utf-8")


def say_tree(lineage: Lineage) -> list[str]:
    """The graph as an indented tree, a line a node. A node that several lead to appears below each."""
    lines: list[str] = []
    for root in lineage.roots:
        _say(lineage, root, "", "", lines)
    return lines


def _say(lineage: Lineage, node: Node, before: str, below: str, lines: list[str]) -> None:
    remarks = f"  [{'; '.join(node.remarks)}]" if node.remarks else ""
    lines.append(f"{before}{node.label}{remarks}")
    targets = lineage.targets_of(node)
    for place, target in enumerate(targets):
        last = place == len(targets) - 1
        _say(lineage, target, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), lines)
