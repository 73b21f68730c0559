"""Every answer, written down off the hot path: what was asked, what was answered, by which version, how fast.

One append-only file of JSON lines per process, brand, model and day:
`<home>/predictions/<brand>/<model>/<day>/<process>.jsonl`. A writer thread takes what has gathered, writes it and
flushes it to disk, several times a second: a request never waits for the disk, a clean stop loses nothing, and after
a hard kill at most the last `FLUSH_SECONDS` are missing.

What a brand may not keep never gets here as text on disk: see `LogRule`.
"""

import hmac
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_shared.config import Capabilities, InputField, Privacy
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.names import ModelKey, VersionKey

FLUSH_SECONDS = 0.05
"""How long answers gather before they are written: few and large writes, and little to lose."""

RETRY_SECONDS = 1.0
"""Pause after a failed write (a full disk), with all answers kept in memory."""

MAX_PENDING_ROWS = 200_000
"""More unwritten rows than this and predictions are refused (503) rather than answered without a record."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogRule:
    """What of one model's predictions may be kept.

    Attributes:
        stores_predictions: False: only provenance (id, version, time, latency) is kept, neither inputs nor outputs.
        plain: Fields kept as they came.
        hashed: Personal fields, kept as a keyed hash: equal values stay recognisable, the value does not.
        dropped: Sensitive fields, of which nothing is kept.
    """

    stores_predictions: bool
    plain: tuple[str, ...]
    hashed: tuple[str, ...]
    dropped: tuple[str, ...]


def build_log_rule(capabilities: Capabilities, fields: Mapping[str, InputField]) -> LogRule:
    """Derive from a brand's declaration what may be kept."""

    def names(privacy: Privacy) -> tuple[str, ...]:
        return tuple(name for name, field in fields.items() if field.privacy is privacy)

    return LogRule(capabilities.may_store_predictions, names(Privacy.PUBLIC), names(Privacy.PERSONAL), names(Privacy.SENSITIVE))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request.

    Attributes:
        version: What answered.
        ids: One prediction id per row.
        rows: The request's objects, as they came.
        predictions: One number or label per row.
        probabilities: Shape (rows, classes), or None for regression.
        at_ms: When, in milliseconds since 1970, UTC; the time in the ids.
        latency_ms: From the request's last byte to the answer, milliseconds.
        served_by: `production`, or what answered in its place: `previous`, `baseline`.
        rule: What of it may be kept.
    """

    version: VersionKey
    ids: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    predictions: Sequence[Any]
    probabilities: Sequence[Sequence[float]] | None
    at_ms: int
    latency_ms: float
    served_by: str
    rule: LogRule


class PredictionLog(Protocol):
    """Keeps answers and finds them again by id."""

    @property
    def is_alive(self) -> bool:
        """Whether answers are still being written."""

    def append(self, answer: Answer) -> None:
        """Take one answer; never waits for the disk. Called from one thread.

        Raises:
            RetryableError: If the disk has been refusing for so long that no more can be held.
        """

    def flush(self) -> None:
        """Return when all that was appended before is on disk."""

    def find(self, prediction_id: str) -> dict[str, Any] | None:
        """Return the record of one prediction, or None."""

    def close(self) -> None:
        """Write all that is held and stop."""


class JsonLinesPredictionLog:
    """A `PredictionLog` of JSON lines below `<home>/predictions`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file_name = f"{os.getpid()}-{time.time_ns():x}.jsonl"
        self._pending: deque[Answer] = deque()
        self._keys: dict[str, bytes] = {}
        self._wake = threading.Event()
        self._written = threading.Condition()
        # Each counter has one writer: the thread that appends, and the thread that writes.
        self._appended_rows = 0
        self._written_rows = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """See `PredictionLog.is_alive`."""
        return self._thread.is_alive()

    def append(self, answer: Answer) -> None:
        """See `PredictionLog.append`."""
        if self._appended_rows - self._written_rows > MAX_PENDING_ROWS or not self.is_alive:
            raise RetryableError("predictions cannot be recorded at present and are therefore not made", retry_after_seconds=5)
        self._pending.append(answer)
        self._appended_rows += len(answer.ids)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """See `PredictionLog.flush`."""
        with self._written:
            goal = self._appended_rows
            self._wake.set()
            self._written.wait_for(lambda: self._written_rows >= goal or not self._thread.is_alive(), timeout=10)

    def find(self, prediction_id: str) -> dict[str, Any] | None:
        """See `PredictionLog.find`."""
        self.flush()
        return find_record(self._home, prediction_id)

    def close(self) -> None:
        """See `PredictionLog.close`."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=10)
        if self._pending:
            logger.error("%d answers could not be recorded before the stop", len(self._pending))

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._pending):
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(FLUSH_SECONDS)
            try:
                self._write_pending()
            except OSError as error:
                logger.error("predictions cannot be written (%s); %d answers are held", error.strerror, len(self._pending))
                if self._closing.wait(RETRY_SECONDS):
                    return
                self._wake.set()

    def _write_pending(self) -> None:
        """Write what is held now, file by file; an answer leaves the queue only when it is on disk."""
        batch = [self._pending[index] for index in range(len(self._pending))]
        groups: dict[Path, list[Answer]] = {}
        for answer in batch:
            groups.setdefault(record_folder(self._home, answer.version.model_key, answer.at_ms), []).append(answer)
        lines = {folder: b"".join(line for answer in group for line in self._lines(answer)) for folder, group in groups.items()}
        append_all_durably({folder / self._file_name: data for folder, data in lines.items()})
        for _ in batch:
            self._pending.popleft()
        with self._written:
            self._written_rows += sum(len(answer.ids) for answer in batch)
            self._written.notify_all()

    def _lines(self, answer: Answer) -> Iterable[bytes]:
        version = answer.version
        shared = {
            "at": datetime.fromtimestamp(answer.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "brand": version.brand,
            "model": version.model,
            "version": version.number,
            "served_by": answer.served_by,
            "latency_ms": round(answer.latency_ms, 3),
            "request_rows": len(answer.ids),
        }
        for index, identifier in enumerate(answer.ids):
            record = {"id": identifier, **shared}
            if answer.rule.stores_predictions:
                record["inputs"] = self._kept_inputs(version.brand, answer.rule, answer.rows[index])
                record["withheld"] = [*answer.rule.hashed, *answer.rule.dropped]
                record["prediction"] = answer.predictions[index]
                if answer.probabilities is not None:
                    record["probabilities"] = answer.probabilities[index]
            yield orjson.dumps(record) + b"\n"

    def _kept_inputs(self, brand: str, rule: LogRule, row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: row.get(name) for name in rule.plain}
        for name in rule.hashed:
            value = row.get(name)
            kept[name] = None if value is None else self._hash(brand, name, value)
        return kept

    def _hash(self, brand: str, field: str, value: Any) -> str:
        key = self._keys.get(brand) or self._keys.setdefault(brand, load_hash_key(self._home, brand))
        return "hmac:" + hmac.digest(key, orjson.dumps([field, value]), "sha256").hex()[:32]


def record_folder(home: Path, key: ModelKey, at_ms: int) -> Path:
    """The folder of one model's predictions of one day (UTC)."""
    return home / "predictions" / key.brand / key.model / datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def find_record(home: Path, prediction_id: str) -> dict[str, Any] | None:
    """Return the record of one prediction, or None. A line torn by a hard kill is passed over.

    Raises:
        InvalidNameError: If the text is no prediction id.
    """
    parsed = prediction_ids.parse(prediction_id)
    folder = record_folder(home, parsed.version.model_key, parsed.at_ms)
    needle = f'"{prediction_id}"'.encode()
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                if needle in line and line.endswith(b"\n"):
                    record: dict[str, Any] = orjson.loads(line)
                    if record.get("id") == prediction_id:
                        return record
    return None


def append_all_durably(texts: Mapping[Path, bytes]) -> None:
    """Append to several files, all of them or, if the disk refuses, none."""
    sizes: dict[Path, int] = {}
    try:
        for path, data in texts.items():
            sizes[path] = append_durably(path, data)
    except OSError:
        for path, size in sizes.items():
            os.truncate(path, size)
        raise


def append_durably(path: Path, data: bytes) -> int:
    """Append and flush to disk; return the size before. On a failure the file is as before."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fdatasync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
        return size
    finally:
        os.close(handle)


def load_hash_key(home: Path, brand: str) -> bytes:
    """Return the secret with which a brand's personal values are hashed; made at its first use, readable by the owner only."""
    path = home / "secrets" / f"{brand}.log-key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # the first of several processes wins, whole
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
