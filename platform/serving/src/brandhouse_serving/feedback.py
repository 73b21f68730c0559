"""What really happened: labels handed in by prediction id, once each.

One file a model and day of the prediction (`labels`) for all processes, written under a lock, so that of two equal
reports one is told that it is the second.
"""

import math
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.durable_files import append_durably
from brandhouse_serving.failures import DuplicateLabelError, UnknownPredictionError
from brandhouse_serving.labels import adopt_earlier, labels_file, locked, read_labels
from brandhouse_serving.prediction_table import day_of
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.errors import ContractViolationError, InvalidNameError, join_bounded
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

KEPT_DAYS = 64
"""Days of models whose labelled ids are kept in memory; older ones are read again when needed."""

FRESH_SECONDS = 0.5
"""An answer that is younger may not be written yet by the process that gave it."""


class KnownPredictions(Protocol):
    """Knows which predictions were made: the prediction log, or the records read back from it."""

    def find(self, prediction_id: str) -> object | None:
        """Return something if the prediction was made, else None."""


class LabelStore:
    """Takes labels and keeps them beside the predictions."""

    def __init__(self, home: Path, log: KnownPredictions) -> None:
        self._home = home
        self._log = log
        self._lock = threading.Lock()
        self._seen: OrderedDict[Path, tuple[int, int, set[str]]] = OrderedDict()

    def add(self, key: ModelKey, prediction_id: str, label: Any, now: datetime) -> None:
        """Store the label of one prediction.

        Args:
            key: The model the caller named; its brand is the caller's own.
            prediction_id: As returned by predict.
            label: Already checked by `check_label`.
            now: Aware of its time zone.

        Raises:
            UnknownPredictionError: If the model made no such prediction.
            DuplicateLabelError: If it has a label already.
        """
        path = self._path(key, prediction_id)
        if not await_record(self._log, prediction_id):
            raise UnknownPredictionError(key)
        record = {"id": prediction_id, "label": label, "at": now.astimezone(UTC).isoformat(timespec="milliseconds")}
        with self._lock, locked(path):
            if prediction_id in self._labelled(path):
                raise DuplicateLabelError(key)
            append_durably(path, orjson.dumps(record) + b"\n")

    def _path(self, key: ModelKey, prediction_id: str) -> Path:
        try:
            parsed = prediction_ids.parse(prediction_id)
        except InvalidNameError:
            raise UnknownPredictionError(key) from None
        if parsed.version.model_key != key:  # another model's or brand's id: as unknown as any other
            raise UnknownPredictionError(key)
        day = day_of(parsed.at_ms)
        adopt_earlier(self._home, key, day)
        return labels_file(self._home, key, day)

    def _labelled(self, path: Path) -> set[str]:
        """Ids with a label, read on from where this process stopped reading, unless the file was written anew since (an erasure)."""
        inode = path.stat().st_ino if path.exists() else 0
        known, position, seen = self._seen.pop(path, (inode, 0, set()))
        if known != inode:
            position, seen = 0, set()
        for record, end in read_labels(path, position):
            seen.add(record["id"])
            position = end
        self._seen[path] = (inode, position, seen)
        while len(self._seen) > KEPT_DAYS:
            self._seen.popitem(last=False)
        return seen


def await_record(log: KnownPredictions, prediction_id: str) -> bool:
    """Whether a prediction is known; of one made just now by another process, a moment later.

    Raises:
        InvalidNameError: If the text is no prediction id.
    """
    made_at = prediction_ids.parse(prediction_id).at_ms / 1000
    while log.find(prediction_id) is None:
        if not 0 <= time.time() - made_at < FRESH_SECONDS:
            return False
        time.sleep(FRESH_SECONDS / 10)
    return True


def check_label(manifest: Manifest, label: Any) -> None:
    """Refuse a label that the model could never have predicted.

    Raises:
        ContractViolationError: Naming what is allowed.
    """
    if manifest.task is Task.REGRESSION:
        if type(label) not in (int, float) or not math.isfinite(label):
            raise ContractViolationError("feedback", ["label: allowed: a number"])
    elif not any(type(label) is type(known) and label == known for known in manifest.classes):
        raise ContractViolationError("feedback", [f"label: allowed: one of {join_bounded(manifest.classes, 30)}"])
