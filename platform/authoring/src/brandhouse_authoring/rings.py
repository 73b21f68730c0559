"""Upgrade many brands in rings: one, then three, then all, the least harmful first.

All brands of a ring are tried in copies; the ring is written only if none of them became worse, and as a whole. A ring is
open only when the one inside it is done, so that a fault of the template meets one brand before it can meet twelve.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from brandhouse_authoring.answers import ANSWERS_FILE
from brandhouse_authoring.ring_report import render_report
from brandhouse_authoring.trials import Trial, try_upgrade
from brandhouse_authoring.upgrading import Upgrade, UpgradeError, plan_upgrade, undo_upgrade, write_upgrade
from brandhouse_flows.content import write_whole
from brandhouse_flows.steps import Step
from brandhouse_shared.artifacts import ArtifactStore
from brandhouse_shared.brands import Brand, discover_brands
from brandhouse_shared.config import Isolation, Risk
from brandhouse_shared.errors import BrandhouseError, join_bounded
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

State = Literal["up to date", "tried", "worse", "conflict", "failed", "upgraded", "not tried"]


class Ring(StrEnum):
    """How many brands."""

    ONE = "one"
    THREE = "three"
    ALL = "all"


SIZES: dict[Ring, int | None] = {Ring.ONE: 1, Ring.THREE: 3, Ring.ALL: None}
_RISKS = [Risk.LOW, Risk.MEDIUM, Risk.HIGH]
_ISOLATIONS = [Isolation.POOL, Isolation.SILO]


@dataclass(slots=True)
class BrandResult:
    """What became of one brand of a ring.

    Attributes:
        detail: One sentence for people; empty where the state says all.
        trial: None if nothing was tried.
    """

    brand: str
    state: State
    detail: str = ""
    trial: Trial | None = None


@dataclass(slots=True)
class RingResult:
    """What became of a ring.

    Attributes:
        ring: Which.
        order: All brands that follow the template, in the order of the rings.
        brands: Those of this ring.
        unmanaged: Brands without an answers file; no ring reaches them.
        report: The report's file.
    """

    ring: Ring
    order: list[str]
    brands: list[BrandResult] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)
    report: Path | None = None

    @property
    def stopped_by(self) -> BrandResult | None:
        """The brand that stopped the ring; None if it was written."""
        return next((result for result in self.brands if result.state in ("worse", "conflict", "failed")), None)

    def as_document(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "ring": self.ring.value,
            "order": self.order,
            "stopped_by": self.stopped_by.brand if self.stopped_by else None,
            "brands": [
                {
                    "brand": result.brand,
                    "state": result.state,
                    "detail": result.detail,
                    "models": [trial.as_document() for trial in result.trial.models] if result.trial else [],
                }
                for result in self.brands
            ],
            "unmanaged": self.unmanaged,
            "report": str(self.report) if self.report else None,
        }


def order_brands(settings: Settings) -> tuple[list[Brand], list[str]]:
    """Return the brands that follow the template, in the order of the rings, and the names of those that do not.

    First those that `[tool.brandhouse.upgrade] first` of the workspace's pyproject.toml lists, as listed; then by risk (low
    first), isolation (pool first) and name.

    Raises:
        UpgradeError: If the list names no such brand.
    """
    brands, _ = discover_brands(settings.brands_dir)
    managed = {brand.name: brand for brand in brands if (brand.folder / ANSWERS_FILE).is_file()}
    first = _listed_first(settings)
    unknown = [name for name in first if name not in managed]
    if unknown:
        raise UpgradeError(
            f"tool.brandhouse.upgrade.first in pyproject.toml names {join_bounded(unknown)}; allowed: brands with a {ANSWERS_FILE}: "
            f"{join_bounded(managed)}"
        )

    def place(brand: Brand) -> tuple[int, int, int, str]:
        listed = first.index(brand.name) if brand.name in first else len(first)
        return listed, _RISKS.index(brand.config.risk), _ISOLATIONS.index(brand.config.isolation), brand.name

    return sorted(managed.values(), key=place), [brand.name for brand in brands if brand.name not in managed]


def _listed_first(settings: Settings) -> list[str]:
    document = tomllib.loads((settings.root / "pyproject.toml").read_text(encoding="utf-8"))
    listed = document.get("tool", {}).get("brandhouse", {}).get("upgrade", {}).get("first", [])
    return [str(name) for name in listed]


def upgrade_ring(settings: Settings, ring: Ring, ledger: Ledger, store: ArtifactStore, step: Step, *, dry_run: bool = False) -> RingResult:
    """Try the upgrade of a ring's brands in copies, write it if none became worse, and write a report either way.

    Args:
        settings: Of this process.
        ring: Which brands.
        ledger: Where production's record is, and the rehearsals are recorded.
        store: Where production's artifact is.
        step: How a step is carried out.
        dry_run: Try, and write nothing but the report.

    Raises:
        UpgradeError: If the ring inside is not done yet, or the order cannot be read.
    """
    ordered, unmanaged = order_brands(settings)
    names = [brand.name for brand in ordered]
    _require_inner_rings(settings, ring, names)
    result = RingResult(ring, names, unmanaged=unmanaged)
    upgrades = _try_all(settings, names[: SIZES[ring]], result, ledger, store, step)
    if not dry_run and result.stopped_by is None:
        _write_all(settings, upgrades, result)
    result.report = _write_report(settings, result)
    return result


def _require_inner_rings(settings: Settings, ring: Ring, names: Sequence[str]) -> None:
    inner = {Ring.ONE: None, Ring.THREE: Ring.ONE, Ring.ALL: Ring.THREE}[ring]
    if inner is None:
        return
    behind = [name for name in names[: SIZES[inner]] if not plan_upgrade(settings, name).is_current]
    if behind:
        raise UpgradeError(
            f"ring {ring} comes after ring {inner}, and {join_bounded(behind)} is not upgraded; run `brandhouse upgrade --ring {inner}` "
            "first, and look at its report"
        )


def _try_all(
    settings: Settings, names: Sequence[str], result: RingResult, ledger: Ledger, store: ArtifactStore, step: Step
) -> list[Upgrade]:
    """Try brand after brand until one stops the ring; the rest is noted as not tried."""
    upgrades = []
    for name in names:
        if result.stopped_by is not None:
            result.brands.append(BrandResult(name, "not tried"))
            continue
        try:
            upgrade = plan_upgrade(settings, name)
            result.brands.append(_try_one(settings, upgrade, ledger, store, step))
        except BrandhouseError as error:
            result.brands.append(BrandResult(name, "failed", str(error)))
            continue
        if not upgrade.is_current:
            upgrades.append(upgrade)
    return upgrades


def _try_one(settings: Settings, upgrade: Upgrade, ledger: Ledger, store: ArtifactStore, step: Step) -> BrandResult:
    if upgrade.is_current:
        return BrandResult(upgrade.brand, "up to date")
    if upgrade.merge.conflicts:
        files = join_bounded(file.path for file in upgrade.merge.conflicts)
        return BrandResult(upgrade.brand, "conflict", f"{files}; merge it with `brandhouse upgrade {upgrade.brand}`")
    trial = try_upgrade(settings, upgrade, ledger, store, step)
    reasons = trial.reasons_to_stop
    return BrandResult(upgrade.brand, "worse" if reasons else "tried", "; ".join(reasons), trial)


def _write_all(settings: Settings, upgrades: Sequence[Upgrade], result: RingResult) -> None:
    """Write all brands of the ring, or none: one that cannot be written puts the others back."""
    answers = {upgrade.brand: (upgrade.folder / ANSWERS_FILE).read_bytes() for upgrade in upgrades}
    written: list[Upgrade] = []
    try:
        for upgrade in upgrades:
            write_upgrade(settings, upgrade)
            written.append(upgrade)
    except BaseException:
        for upgrade in written:
            undo_upgrade(upgrade, answers[upgrade.brand])
        raise
    for brand in result.brands:
        if brand.brand in answers:
            brand.state = "upgraded"


def _write_report(settings: Settings, result: RingResult) -> Path:
    now = datetime.now(UTC)
    path = settings.home / "reports" / "upgrades" / f"{now:%Y%m%dT%H%M%S}-{result.ring}.md"
    write_whole(path, render_report(result.as_document(), now))
    return path
