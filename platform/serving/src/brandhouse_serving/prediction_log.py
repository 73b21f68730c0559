"""Every answer, written down off the hot path: what was asked, what was answered, by which version, how fast.

A thread takes what has gathered and appends it to the journals of `journal`, many times a second: a request never
waits for the disk, a clean stop loses nothing, and after a hard kill at most what came in since is missing. The keeper
turns journals into Parquet (`keeper`, `conversion`); `prediction_records` reads both.

What a brand may not keep never gets on disk: see `LogRule`.
"""

import hmac
import logging
import os
import resource
import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from brandhouse_serving.journal import JournalWriter
from brandhouse_serving.prediction_records import find_record
from brandhouse_shared.config import Capabilities, InputField, Privacy
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.names import VersionKey

FLUSH_SECONDS = 0.05
"""How long answers gather before they are written: few and large writes, and little to lose. The promise is 200 ms."""

RETRY_SECONDS = 1.0
"""Pause after a failed write (a full disk), with all answers kept in memory."""

MAX_PENDING_BYTES = 32 << 20
"""More than this unwritten of one brand and its predictions are refused (503) rather than answered without a record."""

_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY

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


@dataclass(slots=True)
class Answer:
    """One answered request. Not frozen, since that would make it five times as slow to build; nobody changes it.

    Attributes:
        version: What answered.
        ids: One prediction id per row.
        rows: The request's objects, as they came and as the contract let them pass.
        predictions: One number or label per row.
        probabilities: Shape (rows, classes), or None for regression.
        at_ms: When, in milliseconds since 1970, UTC; the time in the ids.
        latency_ms: From the request's last byte to the answer, milliseconds.
        served_by: `production`, or what answered in its place: `previous`, `baseline`.
        rule: What of it may be kept.
        rows_json: `rows` as JSON on one line, if the client sent them so: then they are not written as JSON once more.
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
    rows_json: bytes | None = None


class PredictionLog(Protocol):
    """Keeps answers and finds them again by id."""

    @property
    def is_alive(self) -> bool:
        """Whether answers are still being written."""

    def append(self, answer: Answer) -> None:
        """Take one answer; does not wait for the disk (but for the secret of hashed fields, once). Called from one thread.

        Raises:
            RetryableError: If the disk has been refusing for so long that no more can be held.
        """

    def flush(self) -> None:
        """Return when every process sees what was appended before."""

    def find(self, prediction_id: str) -> dict[str, Any] | None:
        """Return the record of one prediction, or None."""

    def close(self) -> None:
        """Write all that is held and stop."""


class _Queue:
    """What is not yet written of one brand. Each counter has one writer: the thread that appends, or the one that writes."""

    __slots__ = ("held", "lines", "taken_bytes", "written_bytes")

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque()
        self.held: list[bytes] = []
        self.taken_bytes = 0
        self.written_bytes = 0


class JournaledPredictionLog:
    """A `PredictionLog` that writes the journals of `journal`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._journals = JournalWriter(home, _most_open_files())
        self._queues: dict[str, _Queue] = {}
        self._keys: dict[str, bytes] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._unsynced = threading.Event()
        self._written = threading.Condition()
        self._has_ended = False
        self._writer = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._syncer = threading.Thread(target=self._run_sync, name="prediction-log-sync", daemon=True)
        self._writer.start()
        self._syncer.start()

    @property
    def is_alive(self) -> bool:
        """See `PredictionLog.is_alive`."""
        return self._writer.is_alive()

    def append(self, answer: Answer) -> None:
        """See `PredictionLog.append`.

        The request is written as text here and not by the thread: it costs the same, the objects are still in the
        processor's cache, and none of them stays behind for the garbage collector to go through again and again.
        """
        queue = self._queues.get(answer.version.brand) or self._add_queue(answer.version.brand)
        if self._has_ended or queue.taken_bytes - queue.written_bytes > MAX_PENDING_BYTES:
            raise RetryableError("predictions cannot be recorded at present and are therefore not made", retry_after_seconds=5)
        line = orjson.dumps(self._entry(answer), None, _JSON)
        queue.lines.append(line)
        queue.taken_bytes += len(line)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """See `PredictionLog.flush`."""
        self._flush(list(self._queues.values()))

    def find(self, prediction_id: str) -> dict[str, Any] | None:
        """See `PredictionLog.find`."""
        queue = self._queues.get(prediction_id.partition(".")[0])  # another brand's disk may refuse just now
        if queue is not None:
            self._flush([queue])
        return find_record(self._home, prediction_id)

    def close(self) -> None:
        """See `PredictionLog.close`."""
        self._closing.set()
        self._wake.set()
        self._writer.join(timeout=10)
        self._unsynced.set()
        self._syncer.join(timeout=10)
        left = sum(len(queue.lines) + len(queue.held) for queue in self._queues.values())
        if left:
            logger.error("%d answered requests could not be recorded before the stop", left)

    def _flush(self, queues: list[_Queue]) -> None:
        goals = [(queue, queue.taken_bytes) for queue in queues]
        self._wake.set()
        with self._written:
            self._written.wait_for(lambda: self._has_ended or all(queue.written_bytes >= goal for queue, goal in goals), timeout=10)

    def _entry(self, answer: Answer) -> tuple[Any, ...]:
        rule = answer.rule
        if not rule.stores_predictions:
            return answer.ids, answer.latency_ms, answer.served_by
        rows: Any = answer.rows
        withheld = rule.hashed + rule.dropped
        if withheld:
            rows = [self._kept(answer.version.brand, rule, row) for row in rows]
        elif answer.rows_json is not None:  # the rows are as the contract has let them pass: declared fields, all of which may be kept
            rows = orjson.Fragment(answer.rows_json)
        return answer.ids, answer.latency_ms, answer.served_by, rows, withheld, answer.predictions, answer.probabilities

    def _kept(self, brand: str, rule: LogRule, row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in rule.plain if name in row}
        for name in rule.hashed:
            value = row.get(name)
            kept[name] = None if value is None else self._hash(brand, name, value)
        return kept

    def _hash(self, brand: str, field: str, value: Any) -> str:
        key = self._keys.get(brand) or self._keys.setdefault(brand, load_hash_key(self._home, brand))
        return hash_value(key, field, value)

    def _add_queue(self, brand: str) -> _Queue:
        return self._queues.setdefault(brand, _Queue())

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._wake.wait(self._journals.seconds_left)
                self._wake.clear()
                self._closing.wait(FLUSH_SECONDS)
                self._write_or_wait()
            self._write_or_wait()  # what came in before the stop
        finally:
            self._journals.finish(everything=True)
            self._has_ended = True
            with self._written:
                self._written.notify_all()

    def _write_or_wait(self) -> None:
        failure = self._write_pending()
        self._journals.finish()
        self._unsynced.set()
        if failure is not None:
            logger.error("predictions cannot be written (%s); they are held and tried again", failure.strerror)
            self._wake.set()
            if self._closing.wait(RETRY_SECONDS):
                self._write_pending()

    def _write_pending(self) -> OSError | None:
        """Write what is held now, brand by brand; what the disk refuses stays held."""
        failure = None
        for brand, queue in list(self._queues.items()):
            queue.held += [queue.lines.popleft() for _ in range(len(queue.lines))]
            if queue.held:
                try:
                    self._write(brand, queue)
                except OSError as error:
                    failure = error
        with self._written:
            self._written.notify_all()
        return failure

    def _write(self, brand: str, queue: _Queue) -> None:
        data = b"".join(queue.held)
        self._journals.append(brand, data)
        queue.held.clear()
        queue.written_bytes += len(data)

    def _run_sync(self) -> None:
        """Flush to disk in a thread of its own: a slow disk must not keep answers in memory, where a kill loses them."""
        while not self._has_ended:
            self._unsynced.wait()
            self._unsynced.clear()
            self._sync()
            self._closing.wait(FLUSH_SECONDS)
        self._sync()

    def _sync(self) -> None:
        try:
            self._journals.sync()
        except OSError as error:
            logger.error("the prediction log cannot be flushed to disk: %s", error.strerror)


def _most_open_files() -> int:
    """A quarter of the files that this process may have open: the rest is for connections and models."""
    return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)


def hash_value(key: bytes, field: str, value: Any) -> str:
    """A personal value as the log keeps it: equal values of a field stay recognisable, the value does not.

    Args:
        key: The brand's, from `load_hash_key`.
        field: Name of the field.
        value: As it came in the request.
    """
    return "hmac:" + hmac.digest(key, orjson.dumps([field, value]), "sha256").hex()[:32]


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
