"""How many requests a model's input schema refused since the monitor's last run, as the gateways of this home counted."""

from dataclasses import dataclass

from brandhouse_aftercare.checks import Watch
from brandhouse_serving.request_totals import read_totals
from brandhouse_serving.worker_place import running_gateways
from brandhouse_shared.ledger.records import EntryKind

CHECK = "data_quality"
TOTALS = "request_totals"
"""In the facts of the check's entries: answered and refused requests since the home exists, to take the next run's from."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Requests since the last run.

    Attributes:
        refused: Contradicted the input schema.
        requests: All that were answered or so refused.
        totals: The same since the home exists: answered, refused.
    """

    refused: int
    requests: int
    totals: tuple[int, int]


def count_refused(watch: Watch) -> Refused | None:
    """Count requests since the last run of this check; None: no gateway of this home ever told of the model."""
    totals = read_totals(watch.home, running_gateways(watch.home)).get(watch.key)
    if totals is None:
        return None
    answered, refused = totals.answered, totals.refused
    before = _before(watch)
    if before[0] > answered or before[1] > refused:  # a gateway was killed and took its numbers along
        before = (0, 0)
    fresh = (answered - before[0], refused - before[1])
    return Refused(fresh[1], sum(fresh), (answered, refused))


def _before(watch: Watch) -> tuple[int, int]:
    entries = watch.ledger.entries(EntryKind.CHECK, watch.key.brand, watch.key.model, CHECK, limit=1)
    told = entries[0].facts.get(TOTALS) if entries else None
    if isinstance(told, list) and len(told) == 2 and all(isinstance(count, int) for count in told):
        return int(str(told[0])), int(str(told[1]))
    return 0, 0
