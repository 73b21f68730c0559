"""How many requests each model got, how many its input schema refused, and what they took, over all gateways of a home.

A gateway counts in a folder of its own that goes with it. What one counted is added to a file of the home when it ends;
what those count that still run is read from them. A gateway that was killed takes its numbers along.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from brandhouse_serving.counter_files import Series, read_series
from brandhouse_serving.metric_families import ANSWERS, CPU_SECONDS, ERRORS
from brandhouse_shared.errors import InvalidNameError
from brandhouse_shared.names import ModelKey

REFUSED_CODES = frozenset({"invalid_input"})
"""Codes of answers that say that a request contradicts the input schema."""

HOME_FILE = "home"
"""In a gateway's folder: whose it is."""

_ENDED_FILE = "ended.jsonl"


@dataclass(frozen=True, slots=True)
class Totals:
    """Requests of one model since its home exists.

    Attributes:
        answered: Got predictions.
        refused: Contradicted the input schema.
        rows: Predicted.
        seconds: Taken by the answers, from a request's last byte on.
    """

    answered: int = 0
    refused: int = 0
    rows: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        times = self.seconds + other.seconds
        return Totals(self.answered + other.answered, self.refused + other.refused, self.rows + other.rows, times)


def claim(folder: Path, home: Path) -> None:
    """Write into a gateway's folder whose it is."""
    (folder / HOME_FILE).write_text(str(home.resolve()))


def keep_totals(folder: Path, home: Path) -> None:
    """Keep what a gateway counted that ends now. A full disk costs the numbers, not the stop."""
    with suppress(OSError):
        series = list(read_series(folder))
        add_totals(home, _sum(series), _cpu_seconds(series))


def add_totals(home: Path, totals: Mapping[ModelKey, Totals], cpu_seconds: float = 0.0) -> None:
    """Add requests to those of a home, and the CPU seconds of the gateway that got them.

    Raises:
        OSError: If the disk refuses.
    """
    counted = {str(key): [one.answered, one.refused, one.rows, one.seconds] for key, one in totals.items()}
    if counted:
        folder = home / "gateways"
        folder.mkdir(parents=True, exist_ok=True)
        line = orjson.dumps({"at": int(time.time()), "models": counted, "cpu_seconds": cpu_seconds}, option=orjson.OPT_APPEND_NEWLINE)
        handle = os.open(folder / _ENDED_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def read_totals(home: Path, gateways: Iterable[Path]) -> dict[ModelKey, Totals]:
    """Requests of all models that any gateway of a home got.

    Args:
        home: Where local state lies.
        gateways: Folders of gateways that run, of any home.
    """
    sums: defaultdict[ModelKey, Totals] = defaultdict(Totals)
    for key, one in (*_ended(home), *(pair for folder in gateways if _is_of(folder, home) for pair in _sum(_series(folder)).items())):
        sums[key] += one
    return dict(sums)


def read_cpu_seconds(home: Path, gateways: Iterable[Path]) -> float:
    """CPU seconds of all gateway processes of a home; arguments as for `read_totals`. Brands' own processes are not in it."""
    running = sum(_cpu_seconds(_series(folder)) for folder in gateways if _is_of(folder, home))
    return running + sum(float(line.get("cpu_seconds", 0.0)) for line in _ended_lines(home))


def _cpu_seconds(series: Iterable[Series]) -> float:
    return sum(one.values[0] for one in series if one.family == CPU_SECONDS)


def _ended(home: Path) -> list[tuple[ModelKey, Totals]]:
    return [pair for line in _ended_lines(home) for pair in _totals_of(line)]


def _ended_lines(home: Path) -> Iterator[dict[str, Any]]:
    with suppress(FileNotFoundError), (home / "gateways" / _ENDED_FILE).open("rb") as lines:
        for line in lines:
            with suppress(ValueError):  # the last line may be torn
                yield orjson.loads(line)


def _totals_of(line: Mapping[str, Any]) -> list[tuple[ModelKey, Totals]]:
    with suppress(ValueError, TypeError, KeyError, InvalidNameError):
        return [(ModelKey.parse(key), Totals(*counted)) for key, counted in line["models"].items()]
    return []


def _is_of(folder: Path, home: Path) -> bool:
    with suppress(OSError):
        return (folder / HOME_FILE).read_text() == str(home.resolve())
    return False


def _series(folder: Path) -> list[Series]:
    with suppress(OSError):
        return list(read_series(folder))
    return []


def _sum(series: Iterable[Series]) -> dict[ModelKey, Totals]:
    sums: defaultdict[ModelKey, Totals] = defaultdict(Totals)
    for one in series:
        if one.family == ANSWERS:
            rows, seconds, *buckets = one.values
            sums[ModelKey(one.labels[0], one.labels[1])] += Totals(int(sum(buckets)), 0, int(rows), seconds)
        elif one.family == ERRORS and one.labels[0] and one.labels[2] in REFUSED_CODES:
            sums[ModelKey(one.labels[0], one.labels[1])] += Totals(refused=int(one.values[0]))
    return dict(sums)
