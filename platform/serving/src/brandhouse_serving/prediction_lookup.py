"""One prediction in the log, by its id: among any number of others, without reading them.

The id names brand, model and millisecond, which lead to one day's folder; there the statistics of each group of rows say
whether it can be in it. What was answered a moment ago is in journals, and these are looked at first.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.journal import find_segments, read_entries
from brandhouse_serving.labels import adopt_earlier, labels_file
from brandhouse_serving.prediction_ids import PredictionId
from brandhouse_serving.prediction_table import Rows, day_folder, day_of, find_parts, rows_by_day
from brandhouse_shared.errors import BrandhouseError, join_bounded
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow.parquet

ID_COLUMN, AT_COLUMN = 0, 1
"""Places in `prediction_table.COLUMNS`."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SAME_REQUEST = ("at", "version", "latency_ms", "served_by", "request_rows")
"""Equal for all rows of one request; they were written one after the other."""


class LogDamagedError(BrandhouseError):
    """A file of the prediction log cannot be read, and what is asked for may be in it."""

    def __init__(self, key: ModelKey, day: str, files: list[str]) -> None:
        super().__init__(
            f"{key}: {join_bounded(files)} of {day} cannot be read, and the prediction is nowhere else; "
            "restore it from the backup of the home (docs/runbooks/replay-differs.md)"
        )


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The request that a prediction was an answer to.

    Attributes:
        rows: What the log holds of it, row by row, as in `prediction_table.COLUMNS`; `inputs` as JSON.
        place: Of the prediction among them.
        is_whole: Whether these are all rows that were asked together; rows of a person who was forgotten are missing.
    """

    rows: tuple[dict[str, Any], ...]
    place: int
    is_whole: bool

    @property
    def row(self) -> dict[str, Any]:
        """The prediction that was looked for."""
        return self.rows[self.place]


def find_request(home: Path, prediction_id: str) -> LoggedRequest | None:
    """Return a prediction with all that was asked in the same request; None if it is not in the log.

    Raises:
        InvalidNameError: If the text is no prediction id.
        LogDamagedError: If a file in which it may be cannot be read.
    """
    parsed = prediction_ids.parse(prediction_id)
    found = _find_in_journals(home, parsed.version.model_key, prediction_id)
    return found or _find_in_day(home, parsed, prediction_id)


def find_label(home: Path, prediction_id: str) -> dict[str, Any] | None:
    """Return the label of a prediction, with the time at which it came; None if it has none.

    Raises:
        InvalidNameError: If the text is no prediction id.
    """
    parsed = prediction_ids.parse(prediction_id)
    key, day = parsed.version.model_key, day_of(parsed.at_ms)
    adopt_earlier(home, key, day)
    with contextlib.suppress(FileNotFoundError), labels_file(home, key, day).open("rb") as file:
        return _label_in(file, prediction_id.encode())
    return None


def _label_in(file: BinaryIO, naming: bytes) -> dict[str, Any] | None:
    if not os.fstat(file.fileno()).st_size:  # nothing to be mapped
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        place = lines.find(naming)
        end = -1 if place < 0 else lines.find(b"\n", place)
        if end < 0:  # a torn last line was never confirmed
            return None
        return dict(orjson.loads(lines[lines.rfind(b"\n", 0, place) + 1 : end]))


def _find_in_journals(home: Path, key: ModelKey, prediction_id: str) -> LoggedRequest | None:
    for segment in find_segments(home, key.brand):
        for entry in read_entries(segment, naming=prediction_id.encode()):
            (columns,) = rows_by_day([entry]).values()
            rows = tuple(as_dicts(columns))
            places = [place for place, row in enumerate(rows) if row["id"] == prediction_id]
            if places:
                return LoggedRequest(rows, places[0], is_whole=len(rows) == rows[0]["request_rows"])
    return None


def _find_in_day(home: Path, parsed: PredictionId, prediction_id: str) -> LoggedRequest | None:
    import pyarrow

    folder = day_folder(home, parsed.version.model_key, parsed.at_ms)
    damaged = []
    for part in find_parts(folder):
        try:
            found = _find_in_part(part, prediction_id, parsed.at_ms)
        except (pyarrow.ArrowException, OSError):
            if part.exists():  # else its day has been deleted in this moment
                damaged.append(part.name)
            continue
        if found is not None:
            return found
    if damaged:
        raise LogDamagedError(parsed.version.model_key, folder.name, damaged)
    return None


def _find_in_part(part: Path, prediction_id: str, at_ms: int) -> LoggedRequest | None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(part) as file:
        for number in range(file.num_row_groups):
            if _may_hold(file.metadata.row_group(number), prediction_id, at_ms):
                ids = file.read_row_group(number, columns=["id"])["id"].to_pylist()
                if prediction_id in ids:
                    return _read_request(file, number, ids.index(prediction_id))
    return None


def _may_hold(group: "pyarrow.parquet.RowGroupMetaData", prediction_id: str, at_ms: int) -> bool:
    """By time first: where two versions answer side by side, nearly every group holds ids before and after any other."""
    return _is_within(group.column(AT_COLUMN).statistics, at_ms) and _is_within(group.column(ID_COLUMN).statistics, prediction_id.encode())


def _is_within(statistics: Any, value: int | bytes) -> bool:
    # As they stand in the file: to make a time of one, Arrow imports pandas, which takes as long as all else of a replay.
    return statistics is None or not statistics.has_min_max or bool(statistics.min_raw <= value <= statistics.max_raw)


def _read_request(file: "pyarrow.parquet.ParquetFile", number: int, place: int) -> LoggedRequest:
    """Read the rows before and behind one that belong to the same request; it may reach into the next groups."""
    asked = file.read_row_group(number, columns=["request_rows"])["request_rows"][place].as_py()
    first, last = number, number
    starts = place
    while starts < asked and first > 0:
        first -= 1
        starts += file.metadata.row_group(first).num_rows
    left = file.metadata.row_group(number).num_rows - place
    while left < asked and last + 1 < file.num_row_groups:
        last += 1
        left += file.metadata.row_group(last).num_rows
    # Only what is around the row becomes Python objects: a group is thousands of rows.
    begin = max(0, starts - asked + 1)
    rows = file.read_row_groups(list(range(first, last + 1))).slice(begin, min(2 * asked - 1, starts - begin + asked))
    columns = {name: _times(rows[name]) if name == "at" else rows[name].to_pylist() for name in rows.column_names}
    return _request_among(list(as_dicts(columns)), starts - begin, asked)


def _times(column: "pyarrow.ChunkedArray") -> list[datetime]:
    """Times without pandas, see `_is_within`."""
    import pyarrow

    return [EPOCH + timedelta(milliseconds=at) for chunk in column.chunks for at in chunk.view(pyarrow.int64()).to_pylist()]


def _request_among(rows: list[dict[str, Any]], place: int, asked: int) -> LoggedRequest:
    """Of rows around one, those of its request. Requests of one millisecond that look alike follow one another whole."""
    same = _same_request(rows[place])
    low = high = place
    while low > 0 and _same_request(rows[low - 1]) == same:
        low -= 1
    while high + 1 < len(rows) and _same_request(rows[high + 1]) == same:
        high += 1
    if high - low + 1 < asked:
        return LoggedRequest(tuple(rows[low : high + 1]), place - low, is_whole=False)
    return LoggedRequest(tuple(rows[low : low + asked]), place - low, is_whole=True) if high - low + 1 == asked else _alone(rows[place])


def _alone(row: dict[str, Any]) -> LoggedRequest:
    """Two requests that cannot be told apart: nobody can say which rows were asked together."""
    return LoggedRequest((row,), 0, is_whole=False)


def _same_request(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in SAME_REQUEST)


def as_dicts(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield rows that are held column by column, one after the other."""
    for values in zip(*rows.values(), strict=True):
        yield dict(zip(rows, values, strict=True))
