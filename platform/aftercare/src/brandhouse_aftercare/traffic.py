"""How many answers a model gave, hour by hour: from the files' own figures where they suffice, and not their contents.

Rows that a log holds twice are counted twice here; the check of the log itself tells of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.log_files import Damage, day_names, find_parts_between, model_folder, open_part, read_journals, to_ms
from brandhouse_serving.prediction_table import day_of, find_parts
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow.parquet as pq

HOUR_MS = 3_600_000
DAY_HOURS = 24
LEAST_DAYS = 29
"""A day and the four weeks before it."""

Times = NDArray[np.int64]
"""Milliseconds since 1970."""


@dataclass(frozen=True)
class Traffic:
    """Answers of one model, counted back from one moment.

    Attributes:
        hours: Rows of the last hour, of the one before, and so on.
        last: When the newest one before that moment was given, however long ago; None: there is none.
    """

    hours: NDArray[np.int64]
    last: datetime | None

    @property
    def days(self) -> NDArray[np.int64]:
        """Rows of the last 24 hours, of the 24 before, and so on."""
        return np.array(self.hours[: len(self.hours) // DAY_HOURS * DAY_HOURS].reshape(-1, DAY_HOURS).sum(axis=1))

    @property
    def known_days(self) -> int:
        """Since how many whole days there is traffic, as far back as was counted."""
        hours = np.flatnonzero(self.hours)
        return 0 if not len(hours) else int(hours[-1] + 1) // DAY_HOURS


def read_traffic(home: Path, key: ModelKey, until: datetime, days: int) -> Traffic:
    """Count the answers of so many days before a moment, and find the last one of all before it.

    Files that are damaged are passed over: the check of the log tells of them.
    """
    end_ms = to_ms(until)
    hours = days * DAY_HOURS
    fresh = _times_in_journals(home, key, end_ms)
    counts = _histogram(fresh, end_ms, hours)
    for part in find_parts_between(home, key, end_ms - hours * HOUR_MS, end_ms):
        counts += _count_part(part, end_ms, hours)
    newest = [*_newest(home, key, end_ms), *fresh[-1:]]
    return Traffic(counts, _moment(max(newest)) if newest else None)


def _times_in_journals(home: Path, key: ModelKey, end_ms: int) -> Times:
    tables = read_journals(home, key, 0, end_ms, ["at"], Damage([]))
    times = [np.asarray(table["at"].cast("int64").to_numpy()) for table in tables]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *times]))


def _count_part(part: Path, end_ms: int, hours: int) -> NDArray[np.int64]:
    counts = np.zeros(hours, np.int64)
    file = open_part(part, Damage([]))
    if file is not None:
        with file:
            for number in range(file.num_row_groups):
                counts += _count_group(file, number, end_ms, hours)
    return counts


def _count_group(file: "pq.ParquetFile", number: int, end_ms: int, hours: int) -> NDArray[np.int64]:
    """Count a group by its smallest and greatest time if they are of one hour; else look at each."""
    span = _span(file, number)
    if span is not None and (end_ms - 1 - span[0]) // HOUR_MS == (end_ms - 1 - span[1]) // HOUR_MS:
        return np.asarray(_histogram(np.asarray(span[:1], np.int64), end_ms, hours) * file.metadata.row_group(number).num_rows)
    return _histogram(_times(file, number), end_ms, hours)


def _span(file: "pq.ParquetFile", number: int) -> tuple[int, int] | None:
    place = file.schema_arrow.get_field_index("at")
    told = file.metadata.row_group(number).column(place).statistics if place >= 0 else None
    if told is None or not told.has_min_max:
        return None
    return to_ms(_aware(told.min)), to_ms(_aware(told.max))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _times(file: "pq.ParquetFile", number: int) -> Times:
    import pyarrow as pa

    try:
        table = file.read_row_group(number, columns=["at"])
    except (pa.ArrowException, OSError, ValueError):
        return np.zeros(0, np.int64)
    return np.asarray(table["at"].cast("int64").to_numpy(), dtype=np.int64)


def _histogram(at_ms: Times, end_ms: int, hours: int) -> NDArray[np.int64]:
    ago = (end_ms - 1 - at_ms) // HOUR_MS
    return np.bincount(ago[(ago >= 0) & (ago < hours)], minlength=hours).astype(np.int64)


def _newest(home: Path, key: ModelKey, end_ms: int) -> Iterator[int]:
    """Time of the newest answer before a moment; nothing if Parquet holds none."""
    for day in reversed([day for day in day_names(home, key) if day <= day_of(end_ms)]):
        times = [at for part in find_parts(model_folder(home, key) / day) for at in _times_of(part, end_ms)]
        if times:
            yield max(times)
            return


def _times_of(part: Path, end_ms: int) -> list[int]:
    """The greatest time before a moment of each group of a file."""
    file = open_part(part, Damage([]))
    if file is None:
        return []
    with file:
        found = []
        for number in range(file.num_row_groups):
            span = _span(file, number)
            times = np.asarray(span, np.int64) if span is not None and span[1] < end_ms else _times(file, number)
            found += [int(times[times < end_ms].max())] if (times < end_ms).any() else []
        return found


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(int(at_ms) / 1000, UTC)
