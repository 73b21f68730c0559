"""What each feature of a version is worth, kept in the ledger: an entry of kind evidence, which `brandhouse readiness` looks for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import VersionKey

if TYPE_CHECKING:  # whoever only reads the entry needs no pandas
    from brandhouse_flows.importance import Importance

NAME = "importance"
MOST = 500
"""Features named in one entry, those that matter most; a model with more is never fully on record."""


def record_importance(
    ledger: Ledger, version: VersionKey, measured: Sequence["Importance"], features: int, run_id: str, actor: str
) -> Entry:
    """Append what was measured of a new version.

    Args:
        ledger: Where it is recorded.
        version: Just registered.
        measured: By falling loss; those that time did not suffice for are absent.
        features: All that the model receives.
        run_id: Of the training.
        actor: Who trained.
    """
    losses = {one.feature: one.loss for one in measured[:MOST]}
    idle = sum(loss <= 0 for loss in losses.values())
    return ledger.record_entry(
        Entry(
            kind=EntryKind.EVIDENCE,
            brand=version.brand,
            model=version.model,
            number=version.number,
            name=NAME,
            state="measured",
            value=float(len(losses)),
            detail=f"{len(losses)} of {features} features measured, {idle} without use",
            facts={"losses": losses, "features": features},
            actor=actor,
            run_id=run_id,
            at=datetime.now(UTC),
        )
    )
