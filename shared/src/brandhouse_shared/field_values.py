"""Values of requests: checked against one field's declaration and made canonical, one by one or a whole column at once.

What is accepted is decided by `build_parser` alone. `build_column_reader` recognises columns of which it is certain that
the parser would take every value, several times faster, and leaves all others to it.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import join_bounded
from brandhouse_shared.table_columns import MISSING_TEXT

Parser = Callable[[Any], Any]
"""From a decoded JSON value to the canonical one; raises `RefusedValue`."""

ColumnReader = Callable[[Sequence[Any]], list[Any] | None]
"""From decoded JSON values to canonical ones; None: not certain."""

MAX_SAFE_INTEGER = 2**53
MAX_FLOAT = float.fromhex("0x1.fffffffffffffp+1023")


class RefusedValue(Exception):  # not an error of the platform: a contract collects them into one
    """A value was refused.

    Attributes:
        kind: What came: its kind, never the value.
        allowed: What would have been taken.
    """

    def __init__(self, kind: str, allowed: str) -> None:
        super().__init__(kind, allowed)
        self.kind = kind
        self.allowed = allowed


def describe_allowed(field: InputField) -> str:
    """One phrase for messages and documentation: what values a field takes."""
    match field.type:
        case FieldType.NUMBER | FieldType.INTEGER:
            noun = "a number" if field.type is FieldType.NUMBER else "a whole number"
            bounds = [f"at least {field.min:g}"] if field.min is not None else []
            bounds += [f"at most {field.max:g}"] if field.max is not None else []
            text = " ".join([noun, " and ".join(bounds)]).strip()
        case FieldType.BOOLEAN:
            text = "true or false"
        case FieldType.CATEGORY:
            text = f"one of {join_bounded(field.values, 30)}" if field.values is not None else "a text"
            text = f"a category, such as {join_bounded(field.values or (), 10)}" if field.others else text
        case FieldType.TEXT:
            text = f"a text of at most {field.max_length} characters"
        case FieldType.DATE:
            text = f"a date as text in the format {field.format}"
    return f"{text}, or null" if field.nullable else text


def describe_kind(value: Any) -> str:
    """What a decoded JSON value is, for messages that must not repeat it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "a whole number"
        case float():
            return "a number" if math.isfinite(value) else "a number that is not finite"
        case str():
            return "a text" if value else "an empty text"
        case list():
            return "a list"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


# -- one value -------------------------------------------------------------------------------------------------------


def build_parser(field: InputField) -> Parser:
    """Make the check of one field."""
    return _CHECKS[field.type](field, describe_allowed(field))


def _number_check(field: InputField, allowed: str) -> Parser:
    low, high, whole, nullable = *_bounds(field), field.type is FieldType.INTEGER, field.nullable

    def check(value: Any) -> float:
        kind = type(value)
        if kind is int or kind is float:
            if low <= value <= high and (kind is int or not whole or value.is_integer()):
                return float(value)
            raise RefusedValue(_fault_of_number(value, whole), allowed)
        if value is None and nullable:
            return math.nan
        raise RefusedValue(describe_kind(value), allowed)

    return check


def _bounds(field: InputField) -> tuple[float, float]:
    """Between which numbers all are taken: not beyond what a float can hold, and a whole number exactly."""
    limit = MAX_SAFE_INTEGER if field.type is FieldType.INTEGER else MAX_FLOAT
    low, high = -math.inf if field.min is None else field.min, math.inf if field.max is None else field.max
    return max(low, -limit), min(high, limit)


def _fault_of_number(value: int | float, whole: bool) -> str:
    try:
        number = float(value)
    except OverflowError:
        return "a number that is too large"
    if not math.isfinite(number):
        return describe_kind(number)
    if whole and number != math.floor(number):
        return "a number that is not whole"
    if whole and abs(number) > MAX_SAFE_INTEGER:
        return "a number that is too large"
    return "a number out of range"


def _boolean_check(field: InputField, allowed: str) -> Parser:
    nullable = field.nullable

    def check(value: Any) -> float:
        if value is True:
            return 1.0
        if value is False:
            return 0.0
        if value is None and nullable:
            return math.nan
        raise RefusedValue(describe_kind(value), allowed)

    return check


def _category_check(field: InputField, allowed: str) -> Parser:
    if field.values is None:
        return _text_check(field, allowed)
    other = _other_check(field, allowed) if field.others else None
    texts = _texts_by_type(field) | ({type(None): {None: MISSING_TEXT}} if field.nullable else {})

    def check(value: Any) -> str:
        known = texts.get(type(value))
        text = known.get(value) if known else None
        if text is not None:
            return text
        if other is not None:
            return str(other(value))
        raise RefusedValue("an unknown category" if known else describe_kind(value), allowed)

    return check


def _texts_by_type(field: InputField) -> dict[type, dict[Any, str]]:
    """Listed values to their texts. JSON true equals 1 in Python: the type decides first."""
    texts: dict[type, dict[Any, str]] = {}
    for value in field.values or ():
        texts.setdefault(type(value), {})[value] = str(value)
    return texts


def _other_check(field: InputField, allowed: str) -> Parser:
    """Take a value that is not listed: a text, or a whole number where whole numbers are listed."""
    check_text = _text_check(field, allowed)
    takes_whole = any(type(value) is int for value in field.values or ())

    def check(value: Any) -> str:
        is_code = takes_whole and type(value) is int and abs(value) <= MAX_SAFE_INTEGER
        return str(value) if is_code else str(check_text(value))

    return check


def _text_check(field: InputField, allowed: str) -> Parser:
    longest, nullable = field.max_length, field.nullable

    def check(value: Any) -> str:
        if type(value) is not str:
            if value is None and nullable:
                return MISSING_TEXT
            raise RefusedValue(describe_kind(value), allowed)
        if len(value) > longest:
            raise RefusedValue(f"a text of {len(value)} characters", allowed)
        if not value and not nullable:
            raise RefusedValue("an empty text", allowed)
        if not value.isascii() and _has_lone_surrogate(value):
            raise RefusedValue("a text with a lone surrogate", allowed)
        return value

    return check


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _date_check(field: InputField, allowed: str) -> Parser:
    is_iso, nullable = field.format == "%Y-%m-%d", field.nullable

    def check(value: Any) -> datetime | None:
        if value is None and nullable:
            return None
        if type(value) is not str:
            raise RefusedValue(describe_kind(value), allowed)
        try:
            moment = _parse_iso(value) if is_iso else None
            if moment is None:
                moment = datetime.strptime(value, field.format)
        except ValueError:
            raise RefusedValue("a text that is no such date", allowed) from None
        if not 1678 <= moment.year <= 2261:
            raise RefusedValue("a date outside 1678 to 2261", allowed)
        return moment.replace(tzinfo=None)

    return check


def _parse_iso(text: str) -> datetime | None:
    """Read `2026-01-31`, in a twentieth of `strptime`'s time; None: `strptime` shall say what it is."""
    if len(text) == 10 and text[4] == text[7] == "-" and text.isascii():
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text)
    return None


_CHECKS: dict[FieldType, Callable[[InputField, str], Parser]] = {
    FieldType.NUMBER: _number_check,
    FieldType.INTEGER: _number_check,
    FieldType.BOOLEAN: _boolean_check,
    FieldType.CATEGORY: _category_check,
    FieldType.TEXT: _text_check,
    FieldType.DATE: _date_check,
}


# -- a column --------------------------------------------------------------------------------------------------------


def build_column_reader(field: InputField) -> ColumnReader:
    """Make the reader of one field's columns."""
    if field.type is FieldType.CATEGORY and field.values is not None:
        return _category_reader(field)
    return _READERS.get(field.type, _never)(field)


def _number_reader(field: InputField) -> ColumnReader:
    low, high = _bounds(field)
    has_bounds = (low, high) != (-MAX_FLOAT, MAX_FLOAT)
    kinds = {int} if field.type is FieldType.INTEGER else {int, float}
    kinds_or_null = kinds | {type(None)} if field.nullable else kinds

    def is_in_range(values: Sequence[Any], found: set[type]) -> bool:
        if not math.isfinite(sum(values)):  # NaN hides from min and max
            return False
        return (low <= min(values) and max(values) <= high) if has_bounds or int in found else True

    def read(values: Sequence[Any]) -> list[Any] | None:
        found = set(map(type, values))
        if found <= kinds:
            column = list(values) if int not in found else list(map(float, values))
            return column if is_in_range(values, found) else None
        present = [value for value in values if value is not None] if found <= kinds_or_null else []
        if not present or not is_in_range(present, found):
            return None
        if int not in found:
            return [math.nan if value is None else value for value in values]
        return [math.nan if value is None else float(value) for value in values]

    return read


def _boolean_reader(field: InputField) -> ColumnReader:
    return lambda values: list(map(float, values)) if set(map(type, values)) == {bool} else None


def _category_reader(field: InputField) -> ColumnReader:
    texts = _texts_by_type(field)
    missing: dict[Any, str] = {None: MISSING_TEXT} if field.nullable else {}
    if texts.keys() == {str}:  # nothing else in JSON equals a text
        return _reader_of_known(texts[str] | missing)
    tables = {frozenset((kind,)): _reader_of_known(known) for kind, known in texts.items()}
    if missing:
        tables |= {frozenset((kind, type(None))): _reader_of_known(known | missing) for kind, known in texts.items()}

    def read(values: Sequence[Any]) -> list[Any] | None:
        read_known = tables.get(frozenset(map(type, values)))
        return None if read_known is None else read_known(values)

    return read


def _reader_of_known(table: dict[Any, str]) -> ColumnReader:
    def read(values: Sequence[Any]) -> list[Any] | None:
        try:
            return list(map(table.__getitem__, values))
        except (KeyError, TypeError):  # not listed; a list or an object
            return None

    return read


def _text_reader(field: InputField) -> ColumnReader:
    longest, takes_empty = field.max_length, field.nullable

    def read(values: Sequence[Any]) -> list[Any] | None:
        is_right = (
            set(map(type, values)) == {str}
            and max(map(len, values)) <= longest
            and (takes_empty or "" not in values)
            and all(map(str.isascii, values))
        )
        return list(values) if is_right else None

    return read


def _never(_: InputField) -> ColumnReader:
    return lambda values: None


_READERS: dict[FieldType, Callable[[InputField], ColumnReader]] = {
    FieldType.NUMBER: _number_reader,
    FieldType.INTEGER: _number_reader,
    FieldType.BOOLEAN: _boolean_reader,
    FieldType.CATEGORY: _text_reader,
    FieldType.TEXT: _text_reader,
}
