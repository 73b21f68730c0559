"""The prediction log, read back: one answer by its id, what is not labelled yet, or all of some time as a frame.

What was answered a moment ago is in journals, all else in Parquet. Journals are looked at first: a row that is turned
into Parquet meanwhile is found there, and one that is in both for a moment is told by its id.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from brandhouse_serving.journal import find_segments, read_entries
from brandhouse_serving.labels import adopt_earlier, labels_file, read_labels
from brandhouse_serving.prediction_lookup import as_dicts, find_request
from brandhouse_serving.prediction_table import DAY_MS, Rows, day_of, find_parts, rows_by_day, schema
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

MAX_RECORDS = 200_000
"""Newest records that are looked at; a busy model answers more than anyone could choose from."""

INPUT_PREFIX = "inputs."
"""Before the names of input fields in a frame, where they could meet a column of the log."""


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One answered row.

    Attributes:
        id: Of the prediction.
        version: Number of the version that answered.
        inputs: What may be kept of the row, by field.
        withheld: Fields that are hashed or not kept.
        prediction: The number of a regression, or the label as text.
        probabilities: One per class; None for a regression.
    """

    id: str
    version: int
    inputs: dict[str, Any]
    withheld: tuple[str, ...]
    prediction: Any
    probabilities: tuple[float, ...] | None


class PredictionRecords(Protocol):
    """Tells what a model answered."""

    def unlabelled(self, key: ModelKey, days: int, now: datetime) -> Iterator[LoggedPrediction]:
        """Yield the answers of the last days that have inputs and no label yet, newest day first."""


def find_record(home: Path, prediction_id: str) -> dict[str, Any] | None:
    """Return the record of one prediction, or None.

    `inputs`, `withheld`, `prediction` and `probabilities` are missing where the brand may not store them.

    Raises:
        InvalidNameError: If the text is no prediction id.
        LogDamagedError: If a file in which it may be cannot be read.
    """
    found = find_request(home, prediction_id)
    return None if found is None else record_of(found.row)


def read(home: Path, key: ModelKey, since: datetime, until: datetime, fields: Mapping[str, InputField] | None = None) -> "pd.DataFrame":
    """Return all answers of a model in some time, with their labels, one row an answered row, the oldest first.

    Args:
        home: Where local state lies.
        key: The model.
        since: Aware of its time zone; the first moment.
        until: Aware of its time zone; the first moment after.
        fields: Input schema. Its numbers and booleans become float64, its dates datetime64, all else text; a field that
            is withheld is hashed text or missing. None: as in JSON.

    Returns:
        The columns of the log, but for each input field a column `inputs.<field>` instead of `inputs`, and
        `label` and `label_at`, which are missing until there is one.
    """
    import pandas as pd

    first, end = _ms(since), _ms(until)
    days = [day_of(ms) for ms in range(first - first % DAY_MS, end, DAY_MS)]
    rows = _rows_between(home, key, days, first, end)
    answers: pd.DataFrame = rows.drop_columns(["inputs"]).to_pandas()
    inputs = _typed([orjson.loads(text or b"{}") for text in rows["inputs"].to_pylist()], fields)
    frame = pd.concat([answers, inputs], axis=1).drop_duplicates("id").merge(_labels(home, key, days), how="left", on="id")
    return frame.sort_values("at", kind="stable", ignore_index=True)


class StoredPredictionRecords:
    """`PredictionRecords` of journals and Parquet below `<home>/predictions`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def unlabelled(self, key: ModelKey, days: int, now: datetime) -> Iterator[LoggedPrediction]:
        """See `PredictionRecords.unlabelled`. At most `MAX_RECORDS`; of one request's rows each is one."""
        return itertools.islice(self._unlabelled(key, days, now), MAX_RECORDS)

    def _unlabelled(self, key: ModelKey, days: int, now: datetime) -> Iterator[LoggedPrediction]:
        oldest = day_of(_ms(now - timedelta(days=days)))
        fresh = _rows_in_journals(self._home, key)
        below = self._home / "predictions" / key.brand / key.model
        known_days = {path.name for path in below.glob("????-??-??")} | fresh.keys()
        for day in sorted((day for day in known_days if day >= oldest), reverse=True):
            passed_over = {label["id"] for label in _labels_of_day(self._home, key, day)}
            for row in self._rows(below / day, fresh.get(day)):
                if row["inputs"] is not None and row["id"] not in passed_over:
                    passed_over.add(row["id"])
                    yield _logged(row)

    def _rows(self, folder: Path, fresh: Rows | None) -> Iterator[dict[str, Any]]:
        if fresh is not None:
            yield from as_dicts(fresh)
        for part in reversed(find_parts(folder)):
            for table in _read_part(part):
                yield from reversed(table.to_pylist())


def _rows_in_journals(home: Path, key: ModelKey) -> dict[str, Rows]:
    """What journals hold of a model, by day."""
    naming = f'"{key.dotted}.v'.encode()
    entries = (entry for segment in find_segments(home, key.brand) for entry in read_entries(segment, naming))
    return {day: rows for (_, day), rows in rows_by_day(entry for entry in entries if entry.version.model_key == key).items()}


def _rows_between(home: Path, key: ModelKey, days: list[str], first_ms: int, end_ms: int) -> "pyarrow.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = [schema().empty_table()]
    tables += [pa.table(rows, schema=schema()) for day, rows in _rows_in_journals(home, key).items() if day in days]
    parts = [part for day in days for part in find_parts(home / "predictions" / key.brand / key.model / day)]
    tables += [table for part in parts for table in _read_part(part)]
    rows = pa.concat_tables(tables, promote_options="default")
    at = pc.cast(rows["at"], pa.int64())
    return rows.filter(pc.and_(pc.greater_equal(at, first_ms), pc.less(at, end_ms)))


def _read_part(part: Path) -> list["pyarrow.Table"]:
    """A part as one table; none if its day has been deleted in this moment."""
    import pyarrow.parquet as pq

    with contextlib.suppress(FileNotFoundError), pq.ParquetFile(part) as file:
        return [file.read()]
    return []


def _typed(rows: list[dict[str, Any]], fields: Mapping[str, InputField] | None) -> "pd.DataFrame":
    import pandas as pd

    if fields is None:
        return pd.DataFrame(rows, index=range(len(rows))).add_prefix(INPUT_PREFIX)
    columns = {INPUT_PREFIX + name: _typed_column(field, [row.get(name) for row in rows]) for name, field in fields.items()}
    return pd.DataFrame(columns, index=range(len(rows)))


def _typed_column(field: InputField, values: list[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if field.privacy is not Privacy.PUBLIC or not (field.is_numeric or field.type is FieldType.DATE):
        return pd.Series([None if value is None else str(value) for value in values], dtype="str")
    if field.is_numeric:
        return pd.Series(values, dtype="float64")
    return pd.to_datetime(pd.Series(values, dtype="str"), format=field.format)


def _labels(home: Path, key: ModelKey, days: list[str]) -> "pd.DataFrame":
    import pandas as pd

    labels = [label for day in days for label in _labels_of_day(home, key, day)]
    at = pd.to_datetime([label["at"] for label in labels], format="ISO8601", utc=True)
    given = pd.Series([label["label"] for label in labels], dtype="object")
    return pd.DataFrame({"id": pd.Series([label["id"] for label in labels], dtype="str"), "label": given, "label_at": at})


def _labels_of_day(home: Path, key: ModelKey, day: str) -> list[dict[str, Any]]:
    adopt_earlier(home, key, day)
    return [label for label, _ in read_labels(labels_file(home, key, day))]


def record_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the log as people read it: without the columns that do not apply to it."""
    at = row["at"] if isinstance(row["at"], datetime) else datetime.fromtimestamp(row["at"] / 1000, UTC)
    record = row | {"at": at.isoformat(timespec="milliseconds"), "prediction": _prediction(row)}
    del record["value"]
    if row["inputs"] is not None:
        record |= {"inputs": orjson.loads(row["inputs"]), "withheld": list(row["withheld"])}
    return {name: value for name, value in record.items() if value is not None}


def _logged(row: dict[str, Any]) -> LoggedPrediction:
    return LoggedPrediction(
        id=row["id"],
        version=row["version"],
        inputs=orjson.loads(row["inputs"]),
        withheld=tuple(row["withheld"]),
        prediction=_prediction(row),
        probabilities=None if row["probabilities"] is None else tuple(row["probabilities"]),
    )


def _prediction(row: dict[str, Any]) -> Any:
    return row["prediction"] if row["value"] is None else row["value"]


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
