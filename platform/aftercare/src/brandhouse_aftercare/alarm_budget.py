"""How probable a false alarm of one check in one run may be, so that a brand has few of them in a month.

A monitor looks again and again, at many fields of several models: with 5 % each, something would be red every day. The
budget is a brand's and a month's; it is divided among models, checks and runs (Bonferroni, which holds however the looks
depend on each other, as overlapping days do). Among the fields of one check it is divided by Holm's rule (1979).
"""

from datetime import datetime, timedelta

from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import EntryKind
from brandhouse_shared.names import ModelKey

FALSE_ALARMS_PER_BRAND_MONTH = 0.1
"""Expected at most, if nothing ever changes. One in ten months: an alarm is to be believed."""

MONTH_DAYS = 31

MOST_RUNS = 1_000
"""So many runs of the last month are counted at most."""


def alarm_share(ledger: Ledger, key: ModelKey, models: int, checks: int, now: datetime) -> float:
    """The largest probability of a false alarm that one check of this run may have.

    A monitor runs once a day; one that was run more often in the last month, by schedule or by hand, gets less each time.

    Args:
        ledger: Knows the runs of the last month.
        key: The model.
        models: Of the brand.
        checks: Of the run.
        now: End of the month.
    """
    return FALSE_ALARMS_PER_BRAND_MONTH / (max(models, 1) * max(checks, 1) * max(MONTH_DAYS, _runs_of_month(ledger, key, now)))


def _runs_of_month(ledger: Ledger, key: ModelKey, now: datetime) -> int:
    entries = ledger.entries(EntryKind.CHECK, key.brand, key.model, limit=MOST_RUNS * 10)
    return min(MOST_RUNS, len({entry.at for entry in entries if now - timedelta(days=MONTH_DAYS) < entry.at <= now}))
