"""Dates as arithmetic on whole seconds since 1970-01-01.

The proleptic Gregorian calendar by whole-number steps (Howard Hinnant, "chrono-compatible low-level date algorithms"),
in float64: all values stay below 2**53, so every step is exact, and a missing date stays NaN.
"""

import re
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from brandhouse_flows.expressions import Kind, Node, NotTraceableError, cast, compare, number
from brandhouse_flows.operations import arithmetic, where

DAY_SECONDS = 86_400
BOUNDS = {
    "year": 2262.0,
    "quarter": 4.0,
    "month": 12.0,
    "day": 31.0,
    "dayofyear": 366.0,
    "day_of_year": 366.0,
    "dayofweek": 6.0,
    "day_of_week": 6.0,
    "weekday": 6.0,
    "hour": 23.0,
    "minute": 59.0,
    "second": 59.0,
}
"""Parts that are traced, with the largest value each takes."""

SPAN_BOUNDS = {"days": 430_000.0, "seconds": 86_399.0}
"""The same of a span."""

WHOLE_SECOND_DIRECTIVES = frozenset("YymdbBjaAHIMSp%")
"""strptime directives without fractions of a second and without a time zone."""


def build_date_input(field: str, date_format: str, *, nullable: bool) -> Node:
    """The seconds of a date field; from its days, which are rounded where they carry a time of day.

    A float64 number of days is off by less than 2e-6 s before the year 2262, so rounding finds the very second. Finer
    formats would not survive, and give a kind that supports no operation.
    """
    days = Node("input", Kind.NUMBER, value=(field, "days"), can_be_nan=nullable, can_be_inf=False)
    if not set(re.findall(r"%(.)", date_format)) <= WHOLE_SECOND_DIRECTIVES:
        return Node("same", Kind.OPAQUE, (days,))
    seconds = Node("mul", Kind.NUMBER, (days, number(DAY_SECONDS)), can_be_nan=nullable, can_be_inf=False)
    return Node("round", Kind.DATE, (seconds,), can_be_nan=nullable, can_be_inf=False)


def build_date_part(date_node: Node, part: str) -> Node:
    """One part of a date, as `Series.dt` names it.

    Raises:
        NotTraceableError: If the part is not one of `BOUNDS`.
    """
    if part not in BOUNDS:
        raise NotTraceableError(f".dt.{part}")
    seconds = cast(date_node, Kind.NUMBER)
    value = _time_part(seconds, part) if part in ("hour", "minute", "second") else _day_part(_whole(seconds, DAY_SECONDS), part)
    return Node("same", Kind.CALENDAR, (value,), bound=BOUNDS[part], can_be_nan=date_node.can_be_nan, can_be_inf=False)


def build_span_part(span: Node, part: str) -> Node:
    """`days` or `seconds` of a span; the days are rounded down, the seconds never negative."""
    if part not in SPAN_BOUNDS:
        raise NotTraceableError(f".dt.{part} of a span")
    seconds = cast(span, Kind.NUMBER)
    value = _whole(seconds, DAY_SECONDS) if part == "days" else _modulo(seconds, DAY_SECONDS)
    return Node("same", Kind.CALENDAR, (value,), bound=SPAN_BOUNDS[part], can_be_nan=span.can_be_nan, can_be_inf=False)


def _time_part(seconds: Node, part: str) -> Node:
    match part:
        case "hour":
            return _whole(_modulo(seconds, DAY_SECONDS), 3_600)
        case "minute":
            return _whole(_modulo(seconds, 3_600), 60)
    return _modulo(seconds, 60)


def _day_part(days: Node, part: str) -> Node:
    match part:
        case "dayofweek" | "day_of_week" | "weekday":
            return _modulo(_add(days, 3), 7)
        case "dayofyear" | "day_of_year":
            return _add(_sub(days, _first_day(_civil(days)["year"])), 1)
        case "quarter":
            return _add(_whole(_add(_civil(days)["month"], -1), 3), 1)
    return _civil(days)[part]


def build_midnight(date_node: Node) -> Node:
    """The start of a date's day."""
    days = _whole(cast(date_node, Kind.NUMBER), DAY_SECONDS)
    return Node("same", Kind.DATE, (_times(days, DAY_SECONDS),), can_be_nan=date_node.can_be_nan, can_be_inf=False)


def build_moment(value: Any) -> Node:
    """A literal date or span of whole seconds.

    Raises:
        NotTraceableError: If it has fractions of a second, a time zone, or is something else.
    """
    if isinstance(value, (timedelta, np.timedelta64)):
        return _literal(pd.Timedelta(value), Kind.DURATION)
    if isinstance(value, (datetime, np.datetime64)):
        moment = pd.Timestamp(value)
        if pd.isna(moment) or moment.tzinfo is not None:
            raise NotTraceableError("a missing date or one with a time zone")
        return _literal(moment - pd.Timestamp(1970, 1, 1), Kind.DATE)
    raise NotTraceableError(f"a {'date' if isinstance(value, date) else type(value).__name__} as an operand")


def _literal(span: Any, kind: Kind) -> Node:
    if span is pd.NaT or span % pd.Timedelta(seconds=1):
        raise NotTraceableError("a date or span that is no whole number of seconds")
    seconds = float(span // pd.Timedelta(seconds=1))
    return Node("const", kind, value=seconds, bound=abs(seconds), can_be_nan=False, can_be_inf=False)


def _civil(z: Node) -> dict[str, Node]:
    shifted = _add(z, 719_468)
    era = _whole(shifted, 146_097)
    day_of_era = _sub(shifted, _times(era, 146_097))
    leap_steps = _sub(_add_nodes(_sub(day_of_era, _whole(day_of_era, 1_460)), _whole(day_of_era, 36_524)), _whole(day_of_era, 146_096))
    year_of_era = _whole(leap_steps, 365)
    day_of_year = _sub(
        day_of_era, _sub(_add_nodes(_times(year_of_era, 365), _whole(year_of_era, 4)), _whole(year_of_era, 100))
    )  # counted from 1 March
    month_step = _whole(_add(_times(day_of_year, 5), 2), 153)
    day = _add(_sub(day_of_year, _whole(_add(_times(month_step, 153), 2), 5)), 1)
    is_early = compare("less", month_step, number(10))
    month = where(is_early, _add(month_step, 3), _add(month_step, -9))
    march_year = _add_nodes(year_of_era, _times(era, 400))
    year = where(compare("less_equal", month, number(2)), _add(march_year, 1), march_year)
    return {"year": year, "month": month, "day": day}


def _first_day(year: Node) -> Node:
    """1 January of a year, in days since 1970-01-01."""
    before = _add(year, -1)
    leaps = _add_nodes(_sub(_whole(before, 4), _whole(before, 100)), _whole(before, 400))
    return _add(_add_nodes(_times(before, 365), leaps), -719_162)


def _add(node: Node, value: float) -> Node:
    return arithmetic("add", node, number(value))


def _times(node: Node, value: float) -> Node:
    return arithmetic("mul", node, number(value))


def _add_nodes(left: Node, right: Node) -> Node:
    return arithmetic("add", left, right)


def _sub(left: Node, right: Node) -> Node:
    return arithmetic("sub", left, right)


def _whole(node: Node, divisor: float) -> Node:
    """Floor of a quotient of whole numbers far below 2**53: a correctly rounded division cannot cross a whole number."""
    return Node("floor", Kind.NUMBER, (arithmetic("div", node, number(divisor)),))


def _modulo(node: Node, divisor: float) -> Node:
    return _sub(node, _times(_whole(node, divisor), divisor))
