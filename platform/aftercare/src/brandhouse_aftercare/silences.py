"""Whether a brand wants silence at a moment. Times of day are those of the silence's own time zone, in summer and winter."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from brandhouse_shared.alerts import DAYS, Severity, Silence


def find_silence(silences: Mapping[str, Silence], severity: Severity, now: datetime) -> str | None:
    """Name of a silence that holds for an alert of this severity now; None: there is none."""
    for name, silence in silences.items():
        if (silence.also_critical or severity is not Severity.CRITICAL) and holds(silence, now):
            return name
    return None


def holds(silence: Silence, now: datetime) -> bool:
    """Whether a silence holds at an aware moment: from `start` on, and no longer at `end`."""
    local = now.astimezone(ZoneInfo(silence.timezone))
    moment = local.strftime("%H:%M")
    today, yesterday = DAYS[local.weekday()], DAYS[(local - timedelta(days=1)).weekday()]
    if silence.start < silence.end:
        return today in silence.days and silence.start <= moment < silence.end
    return (today in silence.days and moment >= silence.start) or (yesterday in silence.days and moment < silence.end)
