"""Volume: does a model get about as much traffic as it usually does, and does it get any?

Usual is the median of the same 24 hours of the four weeks before, or, for a young model, of the days that there are. A
Poisson count at `max_volume_factor` times less, or more, than that must be all but impossible before it is red.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.tails import poisson_at_least, poisson_at_most
from brandhouse_aftercare.traffic import DAY_HOURS, LEAST_DAYS, Traffic, read_traffic

FEWEST_WEEKS, FEWEST_DAYS = 2, 3
"""Of fewer earlier weeks the other days count too; of fewer days nothing is said."""

FEW_ROWS = 10
"""A model with fewer answers a day was only tried so far: more of them is no news."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual.

    Attributes:
        rows: In 24 hours.
        days: On how many earlier days that rests.
    """

    rows: float
    days: int


class VolumeCheck:
    """Compares the last 24 hours with earlier ones, and tells of silence."""

    name = "volume"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        traffic = watch.traffic
        if traffic.last is None:
            return Finding(self.name, State.UNKNOWN, "no answer was ever logged: nothing says what is usual", rows=0)
        if (watch.until - traffic.last) / timedelta(hours=1) >= min(DAY_HOURS, watch.model.monitoring.silence_hours):
            return _say_silence(watch, self.name, traffic.last)
        return compare_volume(watch, traffic)


def _say_silence(watch: Watch, name: str, last: datetime) -> Finding:
    """Judge a silence by what was usual before it began: after weeks, silence itself would be usual."""
    monitoring = watch.model.monitoring
    silent_hours = (watch.until - last) / timedelta(hours=1)
    before = read_traffic(watch.home, watch.key, last + timedelta(milliseconds=1), LEAST_DAYS)
    usual = _usual(before.days, before.known_days, weekly=False)
    if usual is None:
        return Finding(
            name, State.UNKNOWN, f"silent for {silent_hours:.0f} hours, and too short a history to say whether that is usual", rows=0
        )
    expected_an_hour = usual.rows / monitoring.max_volume_factor / DAY_HOURS
    red_after = max(monitoring.silence_hours, -math.log(watch.alarm_share) / expected_an_hour if expected_an_hour else math.inf)
    facts = {
        "unit": "hours without an answer",
        "silent": True,
        "usual_rows_a_day": usual.rows,
        "last": last.isoformat(timespec="seconds"),
    }
    facts["red_after_hours"] = round(red_after, 1) if math.isfinite(red_after) else None
    silent = f"no answer for {silent_hours:.0f} hours, usual are {usual.rows:,.0f} a day"
    limit = round(red_after, 1) if math.isfinite(red_after) else None
    if silent_hours >= red_after:
        return Finding(name, State.RED, silent, round(silent_hours, 1), limit, 0, facts)
    return Finding(name, State.UNKNOWN, f"{silent}: red after {red_after:.0f} hours", round(silent_hours, 1), limit, 0, facts)


def compare_volume(watch: Watch, traffic: Traffic, name: str = "volume") -> Finding:
    """Judge the last 24 hours by the days before."""
    rows = int(traffic.days[0])
    usual = _usual(traffic.days[1:LEAST_DAYS], traffic.known_days - 1, weekly=True)
    if usual is None:
        known = max(0, traffic.known_days - 1)
        return Finding(name, State.UNKNOWN, f"not enough data: {known} of {FEWEST_DAYS} earlier days to say what is usual", rows=rows)
    factor, alpha = watch.model.monitoring.max_volume_factor, watch.alarm_share / 2
    too_few = poisson_at_most(rows, usual.rows / factor) <= alpha
    too_many = usual.rows >= FEW_ROWS and poisson_at_least(rows, usual.rows * factor) <= alpha
    ratio = rows / max(usual.rows, 1.0)
    facts = {"unit": "rows of 24 hours over the usual", "silent": False, "usual_rows_a_day": usual.rows, "earlier_days": usual.days}
    said = f"{rows:,} answers in 24 hours, usual are {usual.rows:,.0f}"
    if too_few or too_many:
        word = "less than a" if too_few else "more than"
        size = f"{word} {_ordinal(factor)} of that" if too_few else f"{word} {factor:g} times that"
        return Finding(name, State.RED, f"{said}: {size}", round(ratio, 3), 1 / factor if too_few else factor, rows, facts)
    if poisson_at_most(0, usual.rows / factor) > alpha:
        return Finding(
            name, State.UNKNOWN, f"{said}: too few to say within a day that something is wrong", round(ratio, 3), factor, rows, facts
        )
    return Finding(name, State.GREEN, said, round(ratio, 3), factor, rows, facts)


def _usual(days: NDArray[np.int64], known: int, *, weekly: bool) -> Usual | None:
    """The median of earlier days, the last one first, of which so many are known; None: they are too few."""
    days = days[: max(known, 0)]
    if weekly and len(same_day := days[6::7]) >= FEWEST_WEEKS:
        return Usual(float(np.median(same_day)), len(same_day))
    return Usual(float(np.median(days)), len(days)) if len(days) >= FEWEST_DAYS else None


def _ordinal(factor: float) -> str:
    return {2.0: "half", 3.0: "third", 4.0: "quarter", 5.0: "fifth", 10.0: "tenth"}.get(factor, f"1/{factor:g}")
