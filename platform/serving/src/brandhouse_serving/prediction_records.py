"""What a model answered in the last days, read back from the prediction log: what rows worth labelling are picked from.

Reads what `prediction_log` has written; a line torn by a hard kill is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import orjson

from brandhouse_shared.names import ModelKey

MAX_RECORDS = 200_000
"""Newest records that are looked at; a busy model answers more than anyone could choose from."""


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One answered row.

    Attributes:
        id: Of the prediction.
        version: Number of the version that answered.
        inputs: What may be kept of the row, by field.
        withheld: Fields that are hashed or not kept.
        prediction: Number or label.
        probabilities: One per class; None for a regression.
    """

    id: str
    version: int
    inputs: dict[str, Any]
    withheld: tuple[str, ...]
    prediction: Any
    probabilities: tuple[float, ...] | None


class PredictionRecords(Protocol):
    """Tells what a model answered."""

    def unlabelled(self, key: ModelKey, days: int, now: datetime) -> Iterator[LoggedPrediction]:
        """Yield the answers of the last days that have inputs and no label yet, newest day first."""


class JsonLinesPredictionRecords:
    """`PredictionRecords` of the JSON lines below `<home>/predictions`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def unlabelled(self, key: ModelKey, days: int, now: datetime) -> Iterator[LoggedPrediction]:
        """See `PredictionRecords.unlabelled`. At most `MAX_RECORDS`; of one request's rows each is one."""
        left = MAX_RECORDS
        for folder in self._folders(key, days, now):
            labelled = set(_labelled(folder))
            for record in _records(folder):
                if left == 0:
                    return
                if "inputs" in record and record["id"] not in labelled:
                    left -= 1
                    yield _read(record)

    def _folders(self, key: ModelKey, days: int, now: datetime) -> list[Path]:
        below = self._home / "predictions" / key.brand / key.model
        oldest = (now.astimezone(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
        return sorted((path for path in below.glob("????-??-??") if path.name >= oldest), reverse=True)


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.jsonl"), reverse=True):
        with file.open("rb") as lines:
            yield from (orjson.loads(line) for line in lines if line.endswith(b"\n"))


def _labelled(folder: Path) -> Iterator[str]:
    path = folder / "labels" / "labels.jsonl"
    if path.is_file():
        with path.open("rb") as lines:
            yield from (orjson.loads(line)["id"] for line in lines if line.endswith(b"\n"))


def _read(record: dict[str, Any]) -> LoggedPrediction:
    probabilities = record.get("probabilities")
    return LoggedPrediction(
        id=record["id"],
        version=int(record["version"]),
        inputs=record["inputs"],
        withheld=tuple(record["withheld"]),
        prediction=record["prediction"],
        probabilities=None if probabilities is None else tuple(probabilities),
    )
