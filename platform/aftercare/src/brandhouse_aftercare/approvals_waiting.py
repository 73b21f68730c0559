"""Which versions wait for people to agree."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

WAITING_STAGES = (Stage.CANDIDATE, Stage.SHADOW, Stage.CANARY)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A version that may go to production when enough people agree.

    Attributes:
        agreed: Who has.
        needed: How many different people must.
        since: When it was registered.
    """

    version: Version
    agreed: tuple[str, ...]
    needed: int
    since: datetime

    def as_document(self) -> dict[str, Any]:
        """As plain values."""
        record = self.version.record
        return {
            "brand": record.key.brand,
            "model": record.key.model,
            "version": f"v{self.version.number}",
            "stage": str(self.version.stage),
            "agreed": list(self.agreed),
            "needed": self.needed,
            "missing": self.needed - len(self.agreed),
            "metric": record.metric,
            "score": record.score,
            "production_score": record.production_score,
            "since": self.since.isoformat(),
        }


def waiting_versions(ledger: Ledger, brands: Iterable[Brand]) -> list[Waiting]:
    """The versions of some brands that only people's agreement keeps from production, the newest of each model first."""
    return [one for brand in brands for key in brand.model_keys for one in _of_model(ledger, key)]


def _of_model(ledger: Ledger, key: ModelKey) -> list[Waiting]:
    versions = ledger.versions(key)
    present = next((version.number for version in versions if version.stage is Stage.PRODUCTION), 0)
    found = []
    for version in versions:
        if version.number < present or version.stage not in WAITING_STAGES or not version.record.gates_passed:
            continue
        needed, agreed = ledger.people_needed(version.key), tuple(entry.actor for entry in ledger.approvals(version.key))
        if len(agreed) < needed:
            found.append(Waiting(version, agreed, needed, version.record.created_at))
    return found
