"""What this process counts, and what all processes of the gateway counted together.

A caller takes the series of a version or of a model once, keeps it, and adds to it: adding is a few stores into shared
memory (`counter_files`). Everything that adds does so on the event loop's thread.
"""

import itertools
import math
import time
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from brandhouse_serving.counter_files import Cells, CounterFile, Series, read_series, zero
from brandhouse_serving.metric_families import (
    ANSWERS,
    ANSWERS_WIDTH,
    CPU_SECONDS,
    CUT_CONNECTIONS,
    ERRORS,
    FALLBACKS,
    FAMILIES,
    IN_FLIGHT,
    LATENCY_SECONDS,
    LOAD_FAILURES,
    LOADED,
    LOADS,
    MODEL_BYTES,
    SHED,
    UNLOADS,
    WORKER_STARTS,
    WORKERS,
    Kind,
    exposition,
)
from brandhouse_shared.names import ModelKey, VersionKey

_BOUNDS = (-math.inf, -math.inf, *LATENCY_SECONDS)
"""A bucket's place among the cells of a version: rows and seconds come before the buckets."""


class Count:
    """One series that goes up; a gauge may go down."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        self._cells[0] += amount

    def set(self, value: float) -> None:
        """Set it; for a gauge."""
        self._cells[0] = value

    @property
    def value(self) -> float:
        """What this process has added."""
        return self._cells[0]


class VersionSeries:
    """What is counted of one version's answers."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def count(self, rows: int, seconds: float) -> None:
        """Count one answered request of so many rows, answered in so many seconds."""
        cells = self._cells
        cells[0] += rows
        cells[1] += seconds
        cells[bisect_left(_BOUNDS, seconds)] += 1


class ModelSeries:
    """What is counted of one model, whichever version answers or none."""

    __slots__ = ("_flight", "_key", "_metrics")

    def __init__(self, metrics: "Metrics", key: ModelKey) -> None:
        self._metrics = metrics
        self._key = key
        self._flight = metrics.cells(IN_FLIGHT, key.brand, key.model)

    def begin(self) -> None:
        """Count a request as taken in."""
        self._flight[0] += 1

    def end(self) -> None:
        """Count a request as answered, or gone."""
        self._flight[0] -= 1

    def count_error(self, code: str) -> None:
        """Count one request without an answer; `code` is the error's, as the client sees it."""
        self._metrics.count_error(self._key.brand, self._key.model, code)

    def count_shed(self, cause: str) -> None:
        """Count one request refused to keep the load within limits, besides its error; `cause` is the error's code."""
        self._metrics.count(SHED, self._key.brand, self._key.model, cause).add()


class Metrics:
    """The counters of one process of a gateway, and the sums over all."""

    def __init__(self, folder: Path | None = None, worker: int = 0) -> None:
        """Begin to count, or go on where an earlier process of this place ended.

        Args:
            folder: The gateway's folder of counters; None: this process is alone and keeps them in its memory.
            worker: This process's place among the gateway's processes, from 0.
        """
        self._folder = folder
        self._file = CounterFile(folder, worker)
        self._counts: dict[tuple[str, ...], Count] = {}
        self._cpu_noted = 0.0
        zero([self.cells(one.family, *one.labels) for one in self._file.series() if _is_gauge(one.family)])
        self.count(WORKERS).add()
        self.count(WORKER_STARTS).add()

    def of(self, version: VersionKey) -> VersionSeries:
        """The series of a version, to be kept by the caller."""
        return VersionSeries(self.cells(ANSWERS, version.brand, version.model, f"v{version.number}"))

    def of_model(self, key: ModelKey) -> ModelSeries:
        """The series of a model that is in the routing table, to be kept by the caller."""
        return ModelSeries(self, key)

    def count(self, family: str, *labels: str) -> Count:
        """Any series of `metric_families.FAMILIES`, by its labels in order. No label may come from a request."""
        present = self._counts.get((family, *labels))
        if present is None:
            present = self._counts[family, *labels] = Count(self.cells(family, *labels))
        return present

    def cells(self, family: str, *labels: str) -> Cells:
        """The numbers of a series."""
        if family == ANSWERS:
            return self._file.cells(family, labels, ANSWERS_WIDTH)
        declared = FAMILIES[family]
        if len(labels) != len(declared.labels):
            raise TypeError(f"{family} has the labels {declared.labels}, not {len(labels)}")
        return self._file.cells(family, labels, declared.width)

    def count_load(self, version: VersionKey) -> None:
        """Count a version taken into memory."""
        self.count(LOADS, *_labels(version)).add()

    def count_load_failure(self, version: VersionKey) -> None:
        """Count a version that could not be loaded."""
        self.count(LOAD_FAILURES, *_labels(version)).add()

    def count_unload(self, version: VersionKey) -> None:
        """Count a version put out of memory for the sake of others."""
        self.count(UNLOADS, *_labels(version)).add()

    def note_cpu(self) -> None:
        """Count the CPU seconds of this process since it was asked last."""
        used = time.process_time()
        self.count(CPU_SECONDS).add(used - self._cpu_noted)
        self._cpu_noted = used

    def note_loaded(self, versions: int, memory_bytes: int) -> None:
        """Note what is in memory now."""
        self.count(LOADED).set(versions)
        self.count(MODEL_BYTES).set(memory_bytes)

    def count_fallback(self, brand: str, model: str, version: int, served_by: str) -> None:
        """Count one answer that production did not give; `version` gave it."""
        self.count(FALLBACKS, brand, model, f"v{version}", served_by).add()

    def count_error(self, brand: str, model: str, code: str) -> None:
        """Count one request without an answer. Brand and model are empty where they were not known to be the caller's."""
        self.count(ERRORS, brand, model, code).add()

    def count_cut_connection(self, cause: str) -> None:
        """Count one connection that was cut or refused."""
        self.count(CUT_CONNECTIONS, cause).add()

    def count_answer(self, brand: str, model: str, version: int, rows: int, seconds: float) -> None:
        """Count one answered request; `of` once and then its `count` costs less."""
        self.of(VersionKey(brand, model, version)).count(rows, seconds)

    def close(self) -> None:
        """Count no more. What was counted stays with the gateway."""
        self._file.close()

    def render(self, brand: str | None = None, others: Iterable[Series] = ()) -> bytes:
        """Return the series of all processes of the gateway, or those of one brand. Takes a while with many models: not for the loop.

        Args:
            brand: None: of all brands, and of the gateway itself.
            others: Series that are not counted here, each of them whole.
        """
        counted = self._file.series() if self._folder is None else read_series(self._folder)
        return exposition(itertools.chain(counted, others), brand)


def _is_gauge(family: str) -> bool:
    return family in FAMILIES and FAMILIES[family].kind is Kind.GAUGE


def _labels(version: VersionKey) -> tuple[str, str, str]:
    return version.brand, version.model, f"v{version.number}"
