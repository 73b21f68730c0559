"""The check of a version's age against what the brand allows, with what a back-test says about so old a model."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_flows.wording import say_number, say_share
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

CURVE = "staleness_curve"
"""Name of the entries that `staleness_curve` leaves; they are of kind mark, for no monitor makes them."""


class StalenessCheck:
    """See the module."""

    name = "staleness"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        version = watch.version
        if version is None:
            return Finding(self.name, State.NOT_APPLICABLE, "no version is in production")
        age_days = (watch.now - version.record.created_at) / timedelta(days=1)
        limit = watch.model.monitoring.max_age_days
        if not watch.brand.config.capabilities.gets_new_data:
            detail = f"{_say_age(age_days)} old; the brand gets no new data (gets_new_data = false), a new training would learn the same"
            return Finding(self.name, State.NOT_APPLICABLE, detail, facts={"age_days": age_days})
        if age_days < 0:
            detail = f"{version.key} was trained {_say_age(-age_days)} after the time of this run: a clock is wrong"
            return Finding(self.name, State.RED, detail, age_days, limit, facts={"age_days": age_days})
        curve = newest_curve(watch.ledger, watch.key)
        state = State.RED if age_days > limit else State.GREEN
        detail = f"{version.key} was trained {_say_age(age_days)} ago; at most {limit} days are allowed{_say_curve(curve, age_days)}"
        return Finding(self.name, state, detail, age_days, limit, facts={"age_days": age_days, "curve": curve and curve.facts})


def newest_curve(ledger: Ledger, key: ModelKey) -> Entry | None:
    """The newest back-test of a model; None if there is none."""
    return next(iter(ledger.entries(EntryKind.MARK, key.brand, key.model, CURVE, limit=1)), None)


def _say_age(days: float) -> str:
    return f"{say_number(round(days, 1))} days"


def _say_curve(entry: Entry | None, age_days: float) -> str:
    """What the back-test says of the age that is nearest and was tried; nothing where it was never made."""
    points: list[Mapping[str, Any]] = [] if entry is None else list(entry.facts.get("points") or ())  # type: ignore[arg-type]
    if entry is None or entry.facts.get("unit") != "days" or not points:
        return ""
    nearest = min(points, key=lambda point: abs(point["age"] - age_days))
    if not points[0]["age"] / 2 <= age_days <= points[-1]["age"] * 1.5:
        return f"; the back-test tried ages from {_say_age(points[0]['age'])} to {_say_age(points[-1]['age'])}"
    word = "worse" if nearest["loss"] > 0 else "better"
    share = say_share(round(abs(nearest["loss_share"]), 3))
    return f"; in the back-test models {_say_age(nearest['age'])} older were {share} {word}"
