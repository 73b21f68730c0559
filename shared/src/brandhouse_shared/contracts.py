"""The input schema at work: one object that ingest, training and serving share.

Canonical values, the same on every path:

- number, integer, boolean: float64, missing is NaN;
- category, text: str, missing is the empty string (a category's value is its text, whatever its type in JSON);
- date: datetime64[ns], time zone free, missing is NaT.

A violation names the field, the kind of the value and what is allowed; never a value, which may be personal.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import ContractViolationError, join_bounded
from brandhouse_shared.table_columns import FALSE_WORDS as FALSE_WORDS
from brandhouse_shared.table_columns import MISSING_TEXT as MISSING_TEXT
from brandhouse_shared.table_columns import TRUE_WORDS as TRUE_WORDS
from brandhouse_shared.table_columns import parse_column

if TYPE_CHECKING:
    import pandas as pd

Column = list[Any]
Parser = Callable[[Any], Any]

MAX_SAFE_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Refusal:
    """Cells of one field that are refused for one reason.

    Attributes:
        field: Name of the field.
        reason: What the cells hold and what is allowed; never a value.
        rows: One boolean a row of the table.
    """

    field: str
    reason: str
    rows: Any

    def __str__(self) -> str:
        return f"{int(self.rows.sum())} of {len(self.rows)} rows hold {self.reason}"


class _Refused(Exception):
    """A value was refused; the argument says its kind and what is allowed."""


@dataclass(frozen=True)
class Contract:
    """The input schema of one model.

    Attributes:
        fields: Column name to its declaration, in the order of `brand.toml`. Names may hold any characters.
    """

    fields: Mapping[str, InputField]

    @property
    def names(self) -> list[str]:
        """Names of the input fields, in declared order."""
        return list(self.fields)

    def digest(self) -> str:
        """SHA-256 of the declaration."""
        document = {name: field.model_dump(mode="json") for name, field in self.fields.items()}
        return hashlib.sha256(json.dumps(list(document.items())).encode()).hexdigest()

    # -- requests ------------------------------------------------------------------------------------------------

    def parse_rows(self, rows: Sequence[Any]) -> dict[str, Column]:
        """Check JSON objects and turn them into one list of canonical values a field.

        Args:
            rows: Decoded JSON objects. A nullable field may be null or left out. Dates are texts in the field's format.

        Returns:
            Field name to values; dates as `datetime` or None.

        Raises:
            ContractViolationError: Naming every refused field (bounded).
        """
        parsers = self._parsers
        columns: dict[str, Column] = {name: [] for name in parsers}
        violations: list[str] = []
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                violations.append(f"instances[{index}]: {_kind(row)} given; allowed: an object with the input fields")
                continue
            for name, parse in parsers.items():
                try:
                    columns[name].append(parse(row.get(name)))
                except _Refused as refusal:
                    given = "nothing" if name not in row else refusal.args[0]
                    violations.append(f"instances[{index}].{name}: {given} given; allowed: {refusal.args[1]}")
            if len(row) > len(parsers) or not row.keys() <= parsers.keys():
                extra = sorted(str(key)[:80] for key in row.keys() - parsers.keys())
                if extra:
                    allowed = join_bounded(self.names, 40)
                    violations.append(f"instances[{index}]: unknown field {join_bounded(extra, 5)}; allowed: {allowed}")
            if len(violations) >= 50:
                break
        if violations:
            raise ContractViolationError("request", violations)
        return columns

    @property
    def _parsers(self) -> dict[str, Parser]:
        cached: dict[str, Parser] | None = self.__dict__.get("_cached_parsers")
        if cached is None:
            cached = {name: _parser(field) for name, field in self.fields.items()}
            self.__dict__["_cached_parsers"] = cached
        return cached

    def frame_of(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        """Turn parsed columns into the canonical frame that `build_features` receives."""
        import pandas as pd

        return pd.DataFrame({name: _series(field, columns[name]) for name, field in self.fields.items()})

    def columns_of(self, frame: pd.DataFrame) -> dict[str, Column]:
        """Turn a canonical frame back into columns as `parse_rows` gives them."""
        return {name: _values(field, frame[name]) for name, field in self.fields.items()}

    def instances_of(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Turn a canonical frame into JSON objects that `parse_rows` takes; a missing value is null."""
        canonical = self.columns_of(frame)
        columns = {name: [_as_json(field, value) for value in canonical[name]] for name, field in self.fields.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    # -- tables --------------------------------------------------------------------------------------------------

    def parse_table(self, table: pd.DataFrame, subject: str) -> pd.DataFrame:
        """Check a table of raw texts and turn it into the canonical frame.

        Args:
            table: All columns as text; missing cells are None/NaN. Further columns are ignored. Not changed.
            subject: Who is checked, for the message.

        Returns:
            One column per input field, the table's index.

        Raises:
            ContractViolationError: With the number of refused rows for every field that the data contradict.
        """
        frame, refusals = self.split_table(table)
        violations = [f"{name}: {what}" for name, reasons in refusals.items() for what in reasons]
        if violations:
            raise ContractViolationError(subject, violations)
        return frame

    def split_table(self, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
        """Like `parse_table`, but return the refusals by field instead of raising. Refused cells become missing."""
        frame, refusals = self.refuse_cells(table)
        reasons = {name: [self._no_column(table, name)] for name in self.fields if name not in table.columns}
        for refusal in refusals:
            reasons.setdefault(refusal.field, []).append(str(refusal))
        return frame, reasons

    def require_columns(self, table: pd.DataFrame, subject: str) -> None:
        """Refuse a table that lacks a declared column.

        Raises:
            ContractViolationError: With every column that is not in the data.
        """
        lacking = [f"{name}: {self._no_column(table, name)}" for name in self.fields if name not in table.columns]
        if lacking:
            raise ContractViolationError(subject, lacking)

    def refuse_cells(self, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Refusal]]:
        """Return the canonical frame, refused cells missing, and which rows were refused why. Columns not in the data are left out."""
        import pandas as pd

        parsed: dict[str, Any] = {}
        refusals: list[Refusal] = []
        for name, field in self.fields.items():
            if name in table.columns:
                parsed[name], refused = parse_column(field, table[name])
                refusals += [Refusal(name, f"{what}; allowed: {describe_allowed(field)}", rows) for what, rows in refused]
        return pd.DataFrame(parsed, index=table.index), refusals

    @staticmethod
    def _no_column(table: pd.DataFrame, name: str) -> str:
        close = [str(column) for column in table.columns if str(column).strip().lower() == name.strip().lower()]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"the column is not in the data{hint}; columns: {join_bounded(table.columns, 40)}"


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


def _kind(value: Any) -> str:
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


def _parser(field: InputField) -> Parser:
    allowed = describe_allowed(field)
    missing: Any = math.nan if field.is_numeric else (None if field.type is FieldType.DATE else MISSING_TEXT)
    check = _CHECKS[field.type](field, allowed)

    def parse(value: Any) -> Any:
        if value is None:
            if field.nullable:
                return missing
            raise _Refused("null", allowed)
        return check(value)

    return parse


def _number_check(field: InputField, allowed: str) -> Parser:
    low = -math.inf if field.min is None else field.min
    high = math.inf if field.max is None else field.max
    whole = field.type is FieldType.INTEGER

    def check(value: Any) -> float:
        if type(value) is not int and type(value) is not float:
            raise _Refused(_kind(value), allowed)
        try:
            number = float(value)
        except OverflowError:
            raise _Refused("a number that is too large", allowed) from None
        if not math.isfinite(number):
            raise _Refused(_kind(number), allowed)
        if whole and (number != math.floor(number) or abs(number) > MAX_SAFE_INTEGER):
            raise _Refused("a number that is not whole" if number != math.floor(number) else "a number that is too large", allowed)
        if not low <= number <= high:
            raise _Refused("a number out of range", allowed)
        return number

    return check


def _boolean_check(field: InputField, allowed: str) -> Parser:
    def check(value: Any) -> float:
        if value is True:
            return 1.0
        if value is False:
            return 0.0
        raise _Refused(_kind(value), allowed)

    return check


def _category_check(field: InputField, allowed: str) -> Parser:
    if field.values is None:
        return _text_check(field, allowed)
    other = _other_check(field, allowed) if field.others else None
    # JSON true equals 1 in Python: the type belongs to the key.
    texts = {(type(value), value): str(value) for value in field.values}

    def check(value: Any) -> str:
        try:
            text = texts.get((type(value), value))
        except TypeError:  # a list or an object
            text = None
        if text is None:
            if other is not None:
                return str(other(value))
            known_type = any(type(value) is kind for kind, _ in texts)
            raise _Refused("an unknown category" if known_type else _kind(value), allowed)
        return text

    return check


def _other_check(field: InputField, allowed: str) -> Parser:
    """Take a value that is not listed: a text, or a whole number where whole numbers are listed."""
    check_text = _text_check(field, allowed)
    takes_whole = any(type(value) is int for value in field.values or ())

    def check(value: Any) -> str:
        is_code = takes_whole and type(value) is int and abs(value) <= MAX_SAFE_INTEGER
        return str(value) if is_code else str(check_text(value))

    return check


def _text_check(field: InputField, allowed: str) -> Parser:
    def check(value: Any) -> str:
        if type(value) is not str:
            raise _Refused(_kind(value), allowed)
        if len(value) > field.max_length:
            raise _Refused(f"a text of {len(value)} characters", allowed)
        if not value and not field.nullable:
            raise _Refused("an empty text", allowed)
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise _Refused("a text with a lone surrogate", allowed)
        return value

    return check


def _date_check(field: InputField, allowed: str) -> Parser:
    def check(value: Any) -> datetime:
        if type(value) is not str:
            raise _Refused(_kind(value), allowed)
        try:
            moment = datetime.strptime(value, field.format)
        except ValueError:
            raise _Refused("a text that is no such date", allowed) from None
        if not 1678 <= moment.year <= 2261:
            raise _Refused("a date outside 1678 to 2261", allowed)
        return moment.replace(tzinfo=None)

    return check


_CHECKS: dict[FieldType, Callable[[InputField, str], Parser]] = {
    FieldType.NUMBER: _number_check,
    FieldType.INTEGER: _number_check,
    FieldType.BOOLEAN: _boolean_check,
    FieldType.CATEGORY: _category_check,
    FieldType.TEXT: _text_check,
    FieldType.DATE: _date_check,
}


def _series(field: InputField, values: Column) -> Any:
    import numpy as np
    import pandas as pd

    if field.is_numeric:
        return np.asarray(values, dtype=np.float64)
    if field.type is FieldType.DATE:
        return pd.to_datetime(pd.Series(values, dtype="object")).astype("datetime64[ns]")
    return np.asarray(values, dtype=object)


def _values(field: InputField, series: pd.Series[Any]) -> Column:
    if field.type is FieldType.DATE:
        return [stamp.to_pydatetime() if stamp == stamp else None for stamp in series]  # NaT differs from itself
    return [float(value) for value in series] if field.is_numeric else list(series)


def _as_json(field: InputField, value: Any) -> Any:
    match field.type:
        case FieldType.INTEGER:
            return None if math.isnan(value) else int(value)
        case FieldType.NUMBER:
            return None if math.isnan(value) else value
        case FieldType.BOOLEAN:
            return None if math.isnan(value) else bool(value)
        case FieldType.DATE:
            return None if value is None else value.strftime(field.format)
        case FieldType.CATEGORY if field.values is not None:
            listed = next((known for known in field.values if str(known) == value), None)
            return value or None if listed is None and field.others else listed
    return value or None
