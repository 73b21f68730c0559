"""How many predictions each version of a model made, as far as the log still holds them: from the files' own statistics."""

import contextlib
import time
from collections import Counter
from pathlib import Path

from brandhouse_serving.conversion import locked
from brandhouse_serving.journal import find_segments, read_entries
from brandhouse_serving.prediction_table import find_parts
from brandhouse_shared.names import ModelKey

VERSION_COLUMN = 4
"""Place in `prediction_table.COLUMNS`."""

PATIENCE_SECONDS = 2.0
"""For the keeper to end its present batch: meanwhile a row may be in a journal and in Parquet, and would be counted twice."""


def count_by_version(home: Path, key: ModelKey) -> Counter[int]:
    """Count the logged predictions of a model by version number. A file that cannot be read is passed over and counts nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    if not (home / "predictions" / key.brand).is_dir():
        return Counter()
    while True:
        with locked(home, key.brand) as is_mine:
            if is_mine or time.monotonic() > deadline:
                return _count_journals(home, key) + _count_parts(home, key)
        time.sleep(0.05)


def _count_journals(home: Path, key: ModelKey) -> Counter[int]:
    found: Counter[int] = Counter()
    for segment in find_segments(home, key.brand):
        for entry in read_entries(segment, naming=f'"{key.dotted}.v'.encode()):
            if entry.version.model_key == key:
                found[entry.version.number] += len(entry.ids)
    return found


def _count_parts(home: Path, key: ModelKey) -> Counter[int]:
    import pyarrow

    found: Counter[int] = Counter()
    for day in sorted((home / "predictions" / key.brand / key.model).glob("????-??-??")):
        for part in find_parts(day):
            with contextlib.suppress(pyarrow.ArrowException, OSError):
                found += _count_part(part)
    return found


def _count_part(part: Path) -> Counter[int]:
    """Only where one group of rows holds several versions is the column read."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: Counter[int] = Counter()
    with pq.ParquetFile(part) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            numbers = group.column(VERSION_COLUMN).statistics
            if numbers is not None and numbers.has_min_max and numbers.min == numbers.max:
                found[numbers.min] += group.num_rows
            else:
                counts = pc.value_counts(file.read_row_group(number, columns=["version"])["version"])
                found.update({one["values"]: one["counts"] for one in counts.to_pylist()})
    return found
