"""Which strptime format the dates of a column are in."""

from __future__ import annotations

import re
from datetime import datetime

from brandhouse_authoring.profiling import ColumnProfile

_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y", "%m-%d-%Y"),
    *("%d-%m-%y", "%d/%m/%y", "%d.%m.%y", "%m/%d/%y", "%m-%d-%y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
)
_TIMES = (
    *("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", "T%H:%M", "T%H:%M:%SZ", " %H:%M:%SZ", " %H:%M:%S.%f", "T%H:%M:%S.%f", "T%H:%M:%S.%fZ"),
    *(" %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S%z", " %H:%M:%S%z", "T%H:%M:%S.%f%z", " %H:%M:%S.%f%z"),
)
_FORMATS = (*(day + time for day in _DAYS for time in _TIMES), "%Y-%m", "%H:%M", "%H:%M:%S")
"""Day before month comes first: it wins where the values fit both."""

_LOOKS_DATED = re.compile(r"\d{4}.?\d|\d[-/. :]\d|\d[ -]?[A-Za-z]{3}|[A-Za-z]{3} \d")
_WIDE_YEARS = range(1678, 2262)
_LIKELY_YEARS = range(1900, 2101)
_TRIED = 200


def guess_date_format(profile: ColumnProfile) -> tuple[str, bool] | None:
    """Return the format that every value has, and whether day and month might be meant the other way round.

    Eight digits count as a date only if all are dates of the last or the present century: else they are a number.
    """
    some = [value for value in profile.some if value][:_TRIED]
    if not some or not all(_LOOKS_DATED.search(value) for value in some[:20]):
        return None
    if profile.all_numbers and not all(re.fullmatch(r"\d{8}", value) for value in some):
        return None
    years = _LIKELY_YEARS if profile.all_numbers else _WIDE_YEARS
    fitting = [candidate for candidate in _FORMATS if _fits(some[0], candidate, years)]
    fitting = [candidate for candidate in fitting if all(_fits(value, candidate, years) for value in some)]
    fitting = [candidate for candidate in fitting if _fits_all(profile, candidate)]
    if not fitting:
        return None
    return fitting[0], any(_swapped(fitting[0]) == other for other in fitting[1:])


def is_clock(date_format: str) -> bool:
    """Whether a format tells the time of a day and no day."""
    return "%H" in date_format and not any(part in date_format for part in ("%d", "%Y", "%y", "%b", "%B"))


def _fits(value: str, candidate: str, years: range) -> bool:
    try:
        return datetime.strptime(value, candidate).year in years
    except ValueError:
        return False


def _fits_all(profile: ColumnProfile, candidate: str) -> bool:
    """By the contract's own reading, so that what is declared is what a training accepts."""
    import pandas as pd

    from brandhouse_shared.config import FieldType, InputField
    from brandhouse_shared.contracts import Contract

    field = InputField(type=FieldType.DATE, format=candidate)
    _, refusals = Contract({profile.name: field}).split_table(pd.DataFrame({profile.name: profile.values.to_pylist()}, dtype=object))
    return not refusals


def _swapped(candidate: str) -> str:
    return candidate.replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m")
