"""The input schema at work: one object that ingest, training and serving share.

Canonical values, the same on every path:

- number, integer, boolean: float64, missing is NaN;
- category, text: str, missing is the empty string (a category's value is its text, whatever its type in JSON);
- date: datetime64[ns], time zone free, missing is NaT.

A violation names the field, the kind of the value and what is allowed; never a value, which may be personal.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from brandhouse_shared.config import FieldType, InputField, Scalar
from brandhouse_shared.errors import ContractViolationError, join_bounded
from brandhouse_shared.field_values import ColumnReader, Parser, RefusedValue, build_column_reader, build_parser, describe_kind
from brandhouse_shared.field_values import describe_allowed as describe_allowed
from brandhouse_shared.table_columns import FALSE_WORDS as FALSE_WORDS
from brandhouse_shared.table_columns import MISSING_TEXT as MISSING_TEXT
from brandhouse_shared.table_columns import TRUE_WORDS as TRUE_WORDS
from brandhouse_shared.table_columns import parse_column

if TYPE_CHECKING:
    import pandas as pd

Column = list[Any]

COLUMN_ROWS = 6
"""From so many rows on, whole columns are faster than one value after the other."""


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

    @functools.cached_property
    def listed_codes(self) -> dict[str, dict[str, Scalar]]:
        """Of categories that list more than texts: from a listed value's text to the value, for protocols that only have texts."""
        categories = {name: field.values for name, field in self.fields.items() if field.values is not None}
        return {
            name: {str(value): value for value in values}
            for name, values in categories.items()
            if any(not isinstance(value, str) for value in values)
        }

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
        columns = None
        if len(rows) == 1:
            columns = self._parse_row(rows[0])
        elif len(rows) >= COLUMN_ROWS:
            columns = self._parse_columns(rows)
        return self._parse_one_by_one(rows) if columns is None else columns

    def _parse_row(self, row: Any) -> dict[str, Column] | None:
        """Read a single row; None: something is wrong, and `_parse_one_by_one` finds out what."""
        parsers = self._parsers
        if type(row) is not dict or not row.keys() <= parsers.keys():
            return None
        find = row.get
        try:
            return {name: [parse(find(name))] for name, parse in parsers.items()}
        except RefusedValue:
            return None

    def _parse_columns(self, rows: Sequence[Any]) -> dict[str, Column] | None:
        """Read whole columns; None: something is wrong or unusual, and `_parse_one_by_one` finds out what."""
        if set(map(type, rows)) != {dict}:
            return None
        columns: dict[str, Column] = {}
        try:
            for (name, (read, parse)), values in zip(self._readers.items(), self._cells(rows), strict=True):
                column = read(values)
                columns[name] = list(map(parse, values)) if column is None else column
        except (RefusedValue, ValueError, OverflowError):
            return None
        return columns

    def _cells(self, rows: Sequence[dict[str, Any]]) -> Iterable[Sequence[Any]]:
        """The rows' values by field, None where one is left out.

        Raises:
            ValueError: If a row has a field that the contract has not.
        """
        readers = self._readers
        try:
            if len(readers) > 1 and set(map(len, rows)) == {len(readers)}:
                return zip(*map(self._pick, rows), strict=True)
        except KeyError:  # as many fields as there should be, and others
            pass
        if not all(row.keys() <= readers.keys() for row in rows):
            raise ValueError
        return [[row.get(name) for row in rows] for name in readers]

    def _parse_one_by_one(self, rows: Sequence[Any]) -> dict[str, Column]:
        parsers = self._parsers
        columns: dict[str, Column] = {name: [] for name in parsers}
        violations: list[str] = []
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                violations.append(f"instances[{index}]: {describe_kind(row)} given; allowed: an object with the input fields")
                continue
            for name, parse in parsers.items():
                try:
                    columns[name].append(parse(row.get(name)))
                except RefusedValue as refusal:
                    given = "nothing" if name not in row else refusal.kind
                    violations.append(f"instances[{index}].{name}: {given} given; allowed: {refusal.allowed}")
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

    @functools.cached_property
    def _parsers(self) -> dict[str, Parser]:
        return {name: build_parser(field) for name, field in self.fields.items()}

    @functools.cached_property
    def _readers(self) -> dict[str, tuple[ColumnReader, Parser]]:
        return {name: (build_column_reader(field), self._parsers[name]) for name, field in self.fields.items()}

    @functools.cached_property
    def _pick(self) -> Callable[[Any], Any]:
        return itemgetter(*self.fields)

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
