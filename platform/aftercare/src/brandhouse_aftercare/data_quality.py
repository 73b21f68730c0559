"""Data quality: are values missing that were there in training, or there that training never saw, and are requests refused?

What was answered has passed the input schema: types, declared ranges and listed values hold by that. Looked at are the
missing share of each field, the values beyond the training's range or categories, and the requests that the schema refused.
A share is red if it exceeds its limit and is proven to by an exact test, at a level adjusted for all that is looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.answers import Categories, Numbers
from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.distances import holm
from brandhouse_aftercare.refusals import TOTALS, Refused, count_refused
from brandhouse_aftercare.tails import binomial_at_least, drawn_at_least
from brandhouse_shared.config import FieldType, InputField, Privacy

TOLD = 50
"""So many shares are told of one by one in the ledger, the worst."""

TOP_CATEGORIES = 20
"""Of so many categories the record of a version tells; of a field with more it is not known which are new."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One share of one field, or of the requests.

    Attributes:
        what: `missing`, `unusual` or `refused`.
        field: Empty: about requests.
        count: Rows, or requests, that are so.
        rows: Of how many.
        usual: Share in training.
        limit: By how much `count / rows` may exceed `usual`.
        probability: Of so many by chance if nothing had changed; for requests, if the share were at the limit.
    """

    what: str
    field: str
    count: int
    rows: int
    usual: float
    limit: float
    probability: float

    @property
    def excess(self) -> float:
        """How much more than usual, as a share of the rows."""
        return self.count / self.rows - self.usual if self.rows else 0.0

    @property
    def name(self) -> str:
        """For people, and to tell them apart."""
        return f"{self.what} {self.field}".strip()


class DataQualityCheck:
    """Looks at single values, field by field, and at refused requests."""

    name = "data_quality"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        refused = count_refused(watch)
        stores = watch.brand.config.capabilities.may_store_predictions
        if not stores and refused is None:
            return Finding(self.name, State.NOT_APPLICABLE, "the brand may not store predictions, and no gateway told of refused requests")
        measured = list(_measure_refused(watch, refused))
        rows = 0
        if stores and watch.version is not None:
            rows = int(watch.answers.has_inputs.sum())
            measured += _measure_fields(watch)
        return _judge(self.name, watch, measured, rows, refused)


def judge_fields(watch: Watch) -> Finding:
    """Judge the logged values alone; requests that were refused are not looked at."""
    return _judge(DataQualityCheck.name, watch, _measure_fields(watch), int(watch.answers.has_inputs.sum()), None)


def _measure_refused(watch: Watch, refused: Refused | None) -> Iterator[Measured]:
    if refused is not None and refused.requests:
        limit = watch.model.monitoring.max_refused_share
        chance = binomial_at_least(refused.refused, refused.requests, limit)
        yield Measured("refused", "", refused.refused, refused.requests, 0.0, limit, chance)


def _measure_fields(watch: Watch) -> list[Measured]:
    told: Any = {} if watch.version is None else watch.version.record.feature_statistics.get("fields", {})
    measured: list[Measured] = []
    for name, field in watch.model.inputs.items():
        if name in told and field.privacy is not Privacy.SENSITIVE and told[name].get("rows"):
            measured += _missing(watch, name, told[name])
            measured += _unusual(watch, name, field, told[name])
    return measured


def _missing(watch: Watch, name: str, told: Mapping[str, Any]) -> Iterator[Measured]:
    answers = watch.answers
    rows, before = int(answers.has_inputs.sum()), int(told["rows"])
    if rows:
        missing = int(answers.inputs[name].missing[answers.has_inputs].sum())
        usual = float(told.get("missing_share") or 0.0)
        chance = drawn_at_least(missing, rows, round(usual * before), before)
        yield Measured("missing", name, missing, rows, usual, watch.model.monitoring.max_missing_rise, chance)


def _unusual(watch: Watch, name: str, field: InputField, told: Mapping[str, Any]) -> Iterator[Measured]:
    """Values beyond what training had. Of the training's own rows, those count that would be new without themselves."""
    if field.privacy is not Privacy.PUBLIC:
        return
    answers = watch.answers
    column = answers.inputs[name]
    known = answers.has_inputs & ~column.missing
    rows, before = int(known.sum()), round(told["rows"] * (1 - (told.get("missing_share") or 0.0)))
    if not rows or not before:
        return
    if isinstance(column, Numbers) and field.type is not FieldType.BOOLEAN:
        span = told.get("length", told)
        is_new = (column.values < span["min"]) | (column.values > span["max"])
        edges = 2
    elif isinstance(column, Categories) and told.get("distinct", TOP_CATEGORIES + 1) <= TOP_CATEGORIES:
        is_new = _new_categories(column, told["top"])
        edges = sum(1 for count in told["top"].values() if count == 1)
    else:
        return
    count = int((is_new & known).sum())
    chance = drawn_at_least(count, rows, edges, before)
    yield Measured("unusual", name, count, rows, edges / before, watch.model.monitoring.max_unusual_share, chance)


def _new_categories(column: Categories, known: Mapping[str, int]) -> NDArray[np.bool_]:
    is_new = np.asarray([*(name[:80] not in known for name in column.names), False], dtype=bool)
    return is_new[column.codes]


def _judge(check: str, watch: Watch, measured: list[Measured], rows: int, refused: Refused | None) -> Finding:
    adjusted = holm({one.name: one.probability for one in measured})
    worst_first = sorted(measured, key=lambda one: -one.excess / one.limit)
    red = [one for one in worst_first if one.excess > one.limit and adjusted[one.name] <= watch.alarm_share and _is_enough(watch, one)]
    worst = red[0] if red else next(iter(worst_first), None)
    facts: dict[str, Any] = {
        "unit": "share of rows above training",
        "bad": [one.name for one in red],
        "covered": _covered(refused, rows),
        "shares": [_told(one, adjusted[one.name]) for one in worst_first[:TOLD]],
    }
    if refused is not None:
        facts[TOTALS] = list(refused.totals)
    state, detail = _say(watch, red, worst, rows, len(measured), refused)
    value = None if worst is None else round(worst.excess, 4)
    return Finding(check, state, detail, value, None if worst is None else worst.limit, rows, facts)


def _is_enough(watch: Watch, one: Measured) -> bool:
    return one.rows >= watch.model.monitoring.min_rows


def _say(
    watch: Watch, red: list[Measured], worst: Measured | None, rows: int, looked_at: int, refused: Refused | None
) -> tuple[State, str]:
    least = watch.model.monitoring.min_rows
    if red:
        more = f"; also {', '.join(one.name for one in red[1:4])}" if len(red) > 1 else ""
        return State.RED, f"{_say_one(red[0])}{more}"
    if rows < least and (refused is None or refused.requests < least or rows):
        return State.UNKNOWN, f"not enough data: {rows:,} of {least:,} rows"
    if worst is None:
        return State.UNKNOWN, "nothing to compare: no version is in production"
    if watch.version is None:
        return State.UNKNOWN, "no version is in production; only refused requests were looked at"
    where = "" if refused is None else f", {refused.refused:,} of {refused.requests:,} requests refused"
    return State.GREEN, f"{looked_at} shares are as in training, the largest rise is {max(worst.excess, 0):.1%}{where}"


def _say_one(one: Measured) -> str:
    share = f"{one.count / one.rows:.1%}"
    if one.what == "refused":
        return f"{share} of {one.rows:,} requests contradict the input schema, allowed are {one.limit:.1%}"
    what = "are missing" if one.what == "missing" else "are beyond what training had"
    return f"{one.field}: {share} of {one.rows:,} values {what}, in training {one.usual:.1%}"


def _told(one: Measured, adjusted: float) -> dict[str, Any]:
    return {
        "what": one.what,
        "field": one.field,
        "count": one.count,
        "rows": one.rows,
        "usual": round(one.usual, 6),
        "limit": one.limit,
        "probability": float(f"{adjusted:.3g}"),
    }


def _covered(refused: Refused | None, rows: int) -> list[str]:
    return (["values"] if rows else []) + (["refused requests"] if refused is not None else [])
