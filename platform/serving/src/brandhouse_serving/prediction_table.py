"""The prediction log as Parquet: one schema for all models and for ever, one folder a day, a few files in it.

`<home>/predictions/<brand>/<model>/<day>/part-0001.parquet`. The last part of a day grows until it is full: it is
written anew with the new rows and takes the old one's place at once. No row ever moves from one file to another, and no
file goes away before its day does, so whoever reads the folder at any moment sees each row once (ADR 0014).
"""

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from brandhouse_serving.durable_files import draft_of, make_private_folder, put_in_place
from brandhouse_serving.journal import Entry
from brandhouse_shared.names import ModelKey, VersionKey

if TYPE_CHECKING:
    import pyarrow

DAY_MS = 86_400_000

FULL_ROWS = 20_000
"""A part with so many rows does not grow any more: writing it anew would cost more than another file."""

PARTS_PER_SIZE = 25
"""After so many parts of a day the size of a full one doubles, `DOUBLINGS` times: a busy day is not thousands of files."""

DOUBLINGS = 3

ROW_GROUP_ROWS = 5_000
"""Ids begin with the time: of a large part, only the groups of the right time are read to find one."""

BATCH = b"brandhouse.batch"
"""In a part's metadata: the batch of journals whose rows were the last to be added."""

SCHEMA_VERSION = b"brandhouse.schema"

COLUMNS = {
    "id": "text",
    "at": "time",
    "brand": "text",
    "model": "text",
    "version": "count",
    "served_by": "text",
    "latency_ms": "number",
    "request_rows": "count",
    "inputs": "text",
    "withheld": "texts",
    "prediction": "text",
    "value": "number",
    "probabilities": "numbers",
}
"""Names and kinds. Columns are only ever added, at the end."""

NEVER_NULL = 8
"""So many columns, from the first on, are what is kept of every answer."""

Rows = dict[str, list[Any]]
"""Column by column; `at` in milliseconds since 1970, `inputs` as JSON."""


def schema() -> "pyarrow.Schema":
    """Return the one schema."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "time": pa.timestamp("ms", "UTC"), "count": pa.int32(), "number": pa.float64()}
    kinds |= {"texts": pa.list_(pa.string()), "numbers": pa.list_(pa.float64())}
    return pa.schema([pa.field(name, kinds[kind], nullable=place >= NEVER_NULL) for place, (name, kind) in enumerate(COLUMNS.items())])


def day_folder(home: Path, key: ModelKey, at_ms: int) -> Path:
    """Where the parts of one model and day (UTC) lie."""
    return home / "predictions" / key.brand / key.model / day_of(at_ms)


def day_of(at_ms: int) -> str:
    """The day (UTC) of a time in milliseconds since 1970."""
    return _day(at_ms // DAY_MS)


@functools.lru_cache(1_000)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


def find_parts(folder: Path) -> list[Path]:
    """Return the parts of a day, the oldest first."""
    return sorted(folder.glob("part-*.parquet"))


def rows_by_day(entries: Iterable[Entry]) -> dict[tuple[ModelKey, str], Rows]:
    """Sort what journals hold by model and day."""
    found: dict[tuple[ModelKey, str], Rows] = {}
    # Entries of a version share one object and come one after the other: what it leads to is looked up when it changes.
    version: VersionKey | None = None
    day, rows = -1, Rows()
    for entry in entries:
        if entry.version is not version or entry.at_ms // DAY_MS != day:
            version, day = entry.version, entry.at_ms // DAY_MS
            rows = found.setdefault((version.model_key, _day(day)), Rows((name, []) for name in COLUMNS))
        _add(rows, entry)
    return found


def add_rows(folder: Path, rows: Mapping[str, list[Any]], batch: str) -> None:
    """Add rows to a day, once: nothing happens if they were the last to be added.

    Only one process may do this to a folder at a time; readers are not disturbed.

    Args:
        folder: Of the model and day.
        rows: Column by column.
        batch: Names these rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    added = pa.table(dict(rows), schema=schema())
    number, tables = 1, [added]
    parts = find_parts(folder)
    if parts:
        number = int(parts[-1].stem.removeprefix("part-"))
        with pq.ParquetFile(parts[-1]) as last:
            if (last.schema_arrow.metadata or {}).get(BATCH) == batch.encode():
                return
            if last.metadata.num_rows < full_rows(number):
                tables = [last.read(use_threads=False), added]
            else:
                number += 1
    make_private_folder(folder)
    _write(folder / f"part-{number:04d}.parquet", pa.concat_tables(tables, promote_options="default"), batch)


def full_rows(number: int) -> int:
    """With how many rows the part of that number is full."""
    return FULL_ROWS << min(number // PARTS_PER_SIZE, DOUBLINGS)


def _add(rows: Rows, entry: Entry) -> None:
    """Add one request. This runs for every answer of the house: one list operation a column, nothing built on the way."""
    count, version = len(entry.ids), entry.version
    rows["id"] += entry.ids
    rows["at"] += [entry.at_ms] * count
    rows["brand"] += [version.brand] * count
    rows["model"] += [version.model] * count
    rows["version"] += [version.number] * count
    rows["served_by"] += [entry.served_by] * count
    rows["latency_ms"] += [round(entry.latency_ms, 3)] * count
    rows["request_rows"] += [count] * count
    rows["withheld"] += [entry.withheld] * count
    nothing = [None] * count
    rows["inputs"] += nothing if entry.rows is None else [orjson.dumps(row).decode() for row in entry.rows]
    rows["prediction"] += nothing if entry.predictions is None else map(str, entry.predictions)
    if entry.probabilities is not None:
        rows["value"] += nothing
        rows["probabilities"] += entry.probabilities
    else:
        rows["value"] += nothing if entry.predictions is None else map(_number_or_none, entry.predictions)
        rows["probabilities"] += nothing


def _number_or_none(prediction: Any) -> float | None:
    return float(prediction) if type(prediction) in (int, float) else None


def _write(path: Path, table: "pyarrow.Table", batch: str) -> None:
    import pyarrow.parquet as pq

    draft = draft_of(path)
    named = table.replace_schema_metadata({SCHEMA_VERSION: b"1", BATCH: batch.encode()})
    repeated = ["brand", "model", "served_by", "prediction"]
    draft.touch(mode=0o600)
    pq.write_table(named, draft, row_group_size=ROW_GROUP_ROWS, compression="zstd", use_dictionary=repeated)
    put_in_place(draft, path)
