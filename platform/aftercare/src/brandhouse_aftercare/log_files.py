"""The files of the prediction log as a monitor reads them: one after the other, and no broken one ends it.

Rows come as Arrow tables of at most one part or journal. What cannot be read is counted in a `Damage`, since a monitor
that stops at a torn file sees nothing from then on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_serving.journal import find_segments, read_entries
from brandhouse_serving.prediction_table import day_of, find_parts, rows_by_day, schema
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass
class Damage:
    """What of the log could not be read. Grows while it is read.

    Attributes:
        files: Parquet files that are cut off or otherwise no such files, by name below the model's folder.
        lines: Lines of journals that hold no answer.
    """

    files: list[str]
    lines: int = 0

    @property
    def is_none(self) -> bool:
        """Whether all could be read."""
        return not self.files and not self.lines


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of a moment that is aware of its time zone."""
    return round(moment.timestamp() * 1000)


def model_folder(home: Path, key: ModelKey) -> Path:
    """Where the days of a model lie."""
    return home / "predictions" / key.brand / key.model


def day_names(home: Path, key: ModelKey) -> list[str]:
    """The days (UTC) of which a model has Parquet files, the oldest first."""
    return sorted(path.name for path in model_folder(home, key).glob("????-??-??"))


def find_parts_between(home: Path, key: ModelKey, first_ms: int, end_ms: int) -> list[Path]:
    """The Parquet files that may hold answers of some time, the oldest day first."""
    first, last = day_of(first_ms), day_of(max(first_ms, end_ms - 1))
    return [part for day in day_names(home, key) if first <= day <= last for part in find_parts(model_folder(home, key) / day)]


def read_tables(home: Path, key: ModelKey, first_ms: int, end_ms: int, columns: Sequence[str], damage: Damage) -> "Iterator[pa.Table]":
    """Yield the rows of some time, file by file; journals first, so that a row that is moved meanwhile is not missed.

    A row may come twice, from a journal and from the Parquet file that it has become: its id tells.
    """
    yield from read_journals(home, key, first_ms, end_ms, columns, damage)
    for part in find_parts_between(home, key, first_ms, end_ms):
        table = _read_part(part, columns, damage)
        if table is not None:
            yield within(table, first_ms, end_ms)


def within(table: "pa.Table", first_ms: int, end_ms: int) -> "pa.Table":
    """The rows of some time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at = pc.cast(table["at"], pa.int64())
    bounds = pc.min_max(at).as_py()
    if not table.num_rows or (bounds["min"] >= first_ms and bounds["max"] < end_ms):
        return table
    return table.filter(pc.and_(pc.greater_equal(at, first_ms), pc.less(at, end_ms)))


def open_part(part: Path, damage: Damage) -> "pq.ParquetFile | None":
    """Open a Parquet file; None if its day has just been deleted, or it is damaged, which is noted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(part)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError):
        damage.files.append(f"{part.parent.name}/{part.name}")
        return None


def _read_part(part: Path, columns: Sequence[str], damage: Damage) -> "pa.Table | None":
    import pyarrow as pa

    file = open_part(part, damage)
    if file is None:
        return None
    with file:
        try:
            table = file.read(columns=list(columns))
        except (pa.ArrowException, OSError, ValueError):
            damage.files.append(f"{part.parent.name}/{part.name}")
            return None
    if table.num_columns != len(columns):  # Parquet, but not of the log
        damage.files.append(f"{part.parent.name}/{part.name}")
        return None
    return table


def read_journals(home: Path, key: ModelKey, first_ms: int, end_ms: int, columns: Sequence[str], damage: Damage) -> "Iterator[pa.Table]":
    """Yield the rows of some time that are not in Parquet files yet."""
    import pyarrow as pa

    naming = f'"{key.dotted}.v'.encode()
    for segment in find_segments(home, key.brand):
        for rows in _rows_of_journal(segment, key, naming, damage):
            whole = pa.table(rows, schema=schema())
            yield within(whole.select(list(columns)), first_ms, end_ms)


def _rows_of_journal(segment: Path, key: ModelKey, naming: bytes, damage: Damage) -> Iterator[dict[str, list[Any]]]:
    lines: list[int] = []
    entries = [entry for entry in read_entries(segment, naming, lines.append) if entry.version.model_key == key]
    damage.lines += sum(lines)
    yield from rows_by_day(entries).values()
