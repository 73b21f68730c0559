"""Taking a person's answers and labels out of the prediction log, file by file; each is as before or as wanted, never in between.

Whoever does this holds the brand's lock, which the keeper takes too, so that no part is written from two sides. Journals
are turned into Parquet first; one that is still being written is waited for.
"""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from brandhouse_serving import labels
from brandhouse_serving.conversion import convert_brand, locked
from brandhouse_serving.durable_files import draft_of, put_in_place, write_durably
from brandhouse_serving.journal import SEGMENT_SECONDS, find_segments
from brandhouse_serving.prediction_log import hash_value
from brandhouse_serving.prediction_lookup import LogDamagedError
from brandhouse_serving.prediction_table import ROW_GROUP_ROWS, find_parts
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow

PATIENCE_SECONDS = 6 * SEGMENT_SECONDS
"""For journals that are being written: each is closed after `SEGMENT_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Sought:
    """How a person's answers are known.

    Attributes:
        ids: Predictions that somebody knows to be theirs.
        fields: Of each model, the input fields that say whom a row is about.
        values: What such a field holds for this person, plain as text or hashed as the log keeps it.
    """

    ids: frozenset[str] = frozenset()
    fields: Mapping[ModelKey, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hits:
    """What is a person's in the log of one model.

    Attributes:
        ids: Of their predictions.
        parts: Files that hold them.
        labels: How many labels are theirs.
    """

    ids: frozenset[str]
    parts: tuple[Path, ...]
    labels: int


def hashed_values(key: bytes, name: str, value: str) -> frozenset[str]:
    """A value of a field in all forms in which the log may hold it: plain, or as a keyed hash of the text or of the number.

    Only a number that is written as numbers are counts as one: `017` is another person than `17`.
    """
    forms: list[Any] = [value]
    if value.isascii() and value.isdigit() and str(int(value)) == value:
        forms += [int(value), float(value)]
    return frozenset({value, *(hash_value(key, name, form) for form in forms)})


def settle_journals(home: Path, brand: str) -> None:
    """Turn all journals of a brand into Parquet, waiting for those that are being written.

    Raises:
        RetryableError: If one is written to for longer than journals are.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    before = {path.name for path in find_segments(home, brand)}
    while before & {path.name for path in find_segments(home, brand)}:
        convert_brand(home, brand)
        if time.monotonic() > deadline:
            raise RetryableError(
                f"{brand}: answers of some seconds ago are still being written; try again", retry_after_seconds=SEGMENT_SECONDS
            )
        time.sleep(0.05)


def find_hits(home: Path, key: ModelKey, sought: Sought) -> Hits:
    """Look through all answers of a model.

    Raises:
        LogDamagedError: If a file cannot be read: it may hold what is looked for.
    """
    ids: set[str] = set()
    parts = []
    for part in _parts(home, key):
        found = _ids_in(part, key, sought)
        if found:
            ids |= found
            parts.append(part)
    theirs = ids | sought.ids
    count = sum(label["id"] in theirs for path in _label_files(home, key) for label, _ in labels.read_labels(path))
    return Hits(frozenset(ids), tuple(parts), count)


def erase_hits(home: Path, key: ModelKey, hits: Hits, sought: Sought) -> None:
    """Write the files that hold a person's answers and labels anew without them. Done twice is done once.

    Raises:
        RetryableError: If another process has worked on the brand's log for too long.
        DiskFullError, OSError: If the disk refuses; what was begun is finished by the next call.
    """
    theirs = hits.ids | sought.ids
    with _mine(home, key.brand):
        # Labels first: after a kill they are found again by the answers, and never the other way round.
        for path in _label_files(home, key):
            with labels.locked(path):
                _rewrite_labels(path, theirs)
        for part in hits.parts:
            _rewrite_part(part, theirs)


@contextlib.contextmanager
def _mine(home: Path, brand: str) -> Iterator[None]:
    """Hold the brand's lock; the keeper holds it for moments."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with locked(home, brand) as is_mine:
            if is_mine:
                yield
                return
        if time.monotonic() > deadline:
            raise RetryableError(f"{brand}: another process works on the prediction log; try again")
        time.sleep(0.05)


def _parts(home: Path, key: ModelKey) -> list[Path]:
    return [part for day in sorted((home / "predictions" / key.brand / key.model).glob("????-??-??")) for part in find_parts(day)]


def _label_files(home: Path, key: ModelKey) -> list[Path]:
    return sorted((home / "predictions" / key.brand / key.model / labels.FOLDER).glob("????-??-??.jsonl"))


def _ids_in(part: Path, key: ModelKey, sought: Sought) -> set[str]:
    import pyarrow
    import pyarrow.parquet as pq

    found: set[str] = set()
    try:
        with pq.ParquetFile(part) as file:
            for number in range(file.num_row_groups):
                found |= _theirs(file.read_row_group(number, columns=["id", "inputs"]), key, sought)
    except (pyarrow.ArrowException, OSError) as error:
        raise LogDamagedError(key, part.parent.name, [part.name]) from error
    return found


def _theirs(rows: "pyarrow.Table", key: ModelKey, sought: Sought) -> set[str]:
    ids = rows["id"].to_pylist()
    found = sought.ids.intersection(ids)
    fields = sought.fields.get(key, ())
    if not fields:
        return set(found)
    # Most rows are nobody's: a row is only parsed if its text holds one of the values.
    needles = {_written(value) for name in fields for value in sought.values[name]}
    for identifier, text in zip(ids, rows["inputs"].to_pylist(), strict=True):
        if text is not None and any(needle in text for needle in needles) and _is_theirs(orjson.loads(text), fields, sought):
            found |= {identifier}
    return set(found)


def _written(value: str) -> str:
    """A value as JSON writes it inside a text."""
    return orjson.dumps(value).decode()[1:-1]


def _is_theirs(inputs: Mapping[str, Any], fields: Collection[str], sought: Sought) -> bool:
    return any(_as_text(inputs[name]) in sought.values[name] for name in fields if inputs.get(name) is not None)


def _as_text(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _rewrite_part(part: Path, ids: Collection[str]) -> None:
    """Write a part without some rows; what its metadata say of batches stays, so that the keeper goes on where it was."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(part) as file:
        rows = file.read()
    kept = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=pa.array(sorted(ids), pa.string()))))
    if kept.num_rows == rows.num_rows:
        return
    draft = draft_of(part)
    draft.touch(mode=0o600)
    pq.write_table(
        kept, draft, row_group_size=ROW_GROUP_ROWS, compression="zstd", use_dictionary=["brand", "model", "served_by", "prediction"]
    )
    put_in_place(draft, part)


def _rewrite_labels(path: Path, ids: Collection[str]) -> None:
    kept = [label for label, _ in labels.read_labels(path)]
    left = [label for label in kept if label["id"] not in ids]
    if len(left) < len(kept):
        write_durably(path, b"".join(orjson.dumps(label) + b"\n" for label in left))
