"""What really happened: labels handed in by prediction id, once each.

Beside a day's predictions, `<home>/predictions/<brand>/<model>/<day>/labels/labels.jsonl`. One file for all processes,
written under a lock, so that of two equal reports one is told that it is the second.
"""

import fcntl
import math
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.prediction_log import append_durably, record_folder
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, InvalidNameError, join_bounded
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

KEPT_DAYS = 64
"""Days of models whose labelled ids are kept in memory; older ones are read again when needed."""


class UnknownPredictionError(BrandhouseError):
    """A label came for a prediction that this model never made, or no longer knows."""

    def __init__(self, key: ModelKey) -> None:
        super().__init__(f"{key} made no prediction of that id; use an id from prediction_ids of its answers")


class DuplicateLabelError(BrandhouseError):
    """A second label came for the same prediction."""

    def __init__(self, key: ModelKey) -> None:
        super().__init__(f"{key} already has a label for that prediction; the first one stays")


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
        self._seen: OrderedDict[Path, tuple[int, set[str]]] = OrderedDict()

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
        if self._log.find(prediction_id) is None:
            raise UnknownPredictionError(key)
        record = {"id": prediction_id, "label": label, "at": now.astimezone(UTC).isoformat(timespec="milliseconds")}
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock, path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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
        return record_folder(self._home, key, parsed.at_ms) / "labels" / "labels.jsonl"

    def _labelled(self, path: Path) -> set[str]:
        """Ids with a label, read on from where this process stopped reading."""
        position, seen = self._seen.pop(path, (0, set()))
        if path.exists():
            with path.open("rb") as lines:
                lines.seek(position)
                for line in lines:
                    if line.endswith(b"\n"):
                        seen.add(orjson.loads(line)["id"])
                        position += len(line)
        self._seen[path] = (position, seen)
        while len(self._seen) > KEPT_DAYS:
            self._seen.popitem(last=False)
        return seen


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
