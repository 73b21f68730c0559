"""Who labelled what and when, and how each row was picked: two append-only files per model, below the brand's own folder.

`<home>/labels/<brand>/<model>/picked.jsonl` and `labels.jsonl`, one line a row, flushed to disk before a command says
that it is done. Not in the ledger: labels come by the thousand, hold what a brand may have to erase, and must not make
other brands' writes wait. Nothing is overwritten; a person who labels a row again corrects the first label, and two
people who differ are both kept.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brandhouse_flows.content import disk_full_named, exclusive
from brandhouse_shared.config import Scalar
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.names import ModelKey

LOCK_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PickedRow:
    """A row that was picked for labelling.

    Attributes:
        row_id: Of the prediction or of the table's row.
        origin: `log` or `table`.
        by: `uncertainty`, `disagreement` or `random`.
        score: What it was picked by; None for one picked at random.
        version: Number of the version whose answer is kept; None: none is.
        prediction: Its number, or one probability per class.
        row: What is kept of the row.
        at: When, ISO 8601 in UTC.
        who: Who picked.
    """

    row_id: str
    origin: str
    by: str
    score: float | None
    version: int | None
    prediction: float | Sequence[float] | None
    row: Mapping[str, Any]
    at: str
    who: str


@dataclass(frozen=True, slots=True)
class Label:
    """One label by one person.

    Attributes:
        at: When it was taken, ISO 8601 in UTC.
    """

    row_id: str
    label: Scalar
    by: str
    at: str


class LabelBook:
    """The picked rows and labels of one model."""

    def __init__(self, home: Path, key: ModelKey) -> None:
        self._key = key
        self._folder = home / "labels" / key.brand / key.model

    def add_picked(self, rows: Iterable[PickedRow]) -> None:
        """Append rows that were picked; all of them or, if the disk refuses, none."""
        self._append("picked.jsonl", rows)

    def add_labels(self, labels: Iterable[Label]) -> None:
        """Append labels; all of them or, if the disk refuses, none."""
        self._append("labels.jsonl", labels)

    def picked(self) -> dict[str, PickedRow]:
        """The picked rows by id. A row that was ever drawn at random counts as drawn at random: else the sample were not fair."""
        rows: dict[str, PickedRow] = {}
        for line in self._lines("picked.jsonl"):
            row = PickedRow(**line)
            if row.row_id not in rows or rows[row.row_id].by != "random":
                rows[row.row_id] = row
        return rows

    def labels(self) -> dict[str, dict[str, Label]]:
        """The labels by row and person; of one person the last."""
        found: dict[str, dict[str, Label]] = {}
        for line in self._lines("labels.jsonl"):
            label = Label(**line)
            found.setdefault(label.row_id, {})[label.by] = label
        return found

    def _append(self, name: str, records: Iterable[PickedRow | Label]) -> None:
        data = "".join(f"{json.dumps(asdict(record), ensure_ascii=False)}\n" for record in records).encode()
        try:
            with exclusive(self._folder / "write.lock", LOCK_WAIT_SECONDS):
                self._folder.chmod(0o700)
                _append_durably(self._folder / name, data)
        except TimeoutError as error:
            raise RetryableError(f"{self._key}: another process writes labels; try again") from error

    def _lines(self, name: str) -> Iterable[dict[str, Any]]:
        path = self._folder / name
        if path.is_file():
            with path.open("rb") as lines:
                yield from (json.loads(line) for line in lines if line.endswith(b"\n"))  # a torn last line was never confirmed


def _append_durably(path: Path, data: bytes) -> None:
    """Append and flush to disk, behind the last whole line; on a failure the file is as before."""
    with disk_full_named(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size = _whole_lines(handle)
            try:
                os.lseek(handle, size, os.SEEK_SET)
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                os.ftruncate(handle, size + len(data))
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


def _whole_lines(handle: int) -> int:
    """Bytes up to the end of the last whole line: a line torn by a power failure would spoil the next."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, 1 << 20), max(0, size - (1 << 20)))
    return size if not tail or tail.endswith(b"\n") else size - len(tail) + tail.rfind(b"\n") + 1
