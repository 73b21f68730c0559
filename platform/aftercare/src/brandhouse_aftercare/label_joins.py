"""The truths that came in, joined to the answers they are about.

Each model's labels are read once a run, for the answers of the last `LOOK_BACK_DAYS`; what is wrong with them is counted
and left out.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from brandhouse_aftercare.given_labels import DayLabels, Oddities, read_given
from brandhouse_aftercare.log_files import Damage, read_tables, to_ms
from brandhouse_serving.prediction_table import DAY_MS, day_of
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.metrics import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from brandhouse_aftercare.checks import Watch

LOOK_BACK_DAYS = 92
"""Labels of older answers are not looked at: a quarter, and as long as a version lasts by default."""

CLOCK_MS = 2_000
"""A label may seem so much older than its answer: clocks of two machines differ."""

ANSWER_COLUMNS = ("id", "at", "version", "served_by", "value", "probabilities")
OWN_ANSWERS = ("production", "canary")
"""What `served_by` says of an answer that the version itself gave, and not its constant in its place."""


@dataclass(frozen=True, slots=True)
class LabelFaults:
    """What is wrong with labels; they are left out.

    Attributes:
        repeated: Further labels of a prediction that has one.
        contradicting: Those of them that say something else.
        early: Labels older than their answer.
        unmatched: Labels of no answer in the log.
        foreign: Labels that are no class of the model, or no number.
        torn: Lines that cannot be read.
    """

    repeated: int = 0
    contradicting: int = 0
    early: int = 0
    unmatched: int = 0
    foreign: int = 0
    torn: int = 0

    @property
    def total(self) -> int:
        """How many lines are left out."""
        return self.repeated + self.early + self.unmatched + self.foreign + self.torn


@dataclass(frozen=True)
class LabelBook:
    """All labels of some time with the answers they are about, of all versions, and how many answers there are.

    Attributes:
        ids: Of the answers that have a label; all columns here have their order.
        at_ms: When each was answered.
        label_at_ms: When its label came in.
        version: Number that answered.
        is_own: Whether that version answered itself.
        truth: Numbers, or places in `Manifest.classes`.
        values: Numbers of a regression, else NaN.
        probabilities: Shape (rows, classes); None for a regression. NaN where an answer has none or others.
        answered_by_day: Day since 1970 to all answers of it, with a label or not.
        faults: What was left out.
    """

    ids: "pa.ChunkedArray"
    at_ms: NDArray[np.int64]
    label_at_ms: NDArray[np.int64]
    version: NDArray[np.int32]
    is_own: NDArray[np.bool_]
    truth: NDArray[np.float64]
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    answered_by_day: Mapping[int, int]
    faults: LabelFaults

    @property
    def rows(self) -> int:
        """How many answers have a label."""
        return len(self.at_ms)

    @functools.cached_property
    def delay_days(self) -> NDArray[np.float64]:
        """From an answer to its label."""
        return np.asarray(np.maximum(self.label_at_ms - self.at_ms, 0) / DAY_MS)


def read_label_book(watch: "Watch", manifest: Manifest) -> LabelBook:
    """Read the labels that came in up to `watch.until`, and join them."""
    first, end = to_ms(watch.until - timedelta(days=LOOK_BACK_DAYS)), to_ms(watch.until)
    given, odd = read_given(watch.home, watch.key, manifest, day_of(first), day_of(end))
    # Of the first day only a part of the answers is read.
    known = {day: labels.before(end) for day, labels in given.items() if day != day_of(first)}
    joined = _Joined(manifest)
    columns = ANSWER_COLUMNS if any(len(labels.ids) for labels in known.values()) else ("at",)  # without labels they are only counted
    for table in read_tables(watch.home, watch.key, first, end, columns, Damage([])):
        joined.add(table, known)
    return joined.build(sum(len(labels.ids) for labels in known.values()), odd)


def inputs_of(watch: "Watch", ids: Sequence[str], since_ms: int, until_ms: int) -> dict[str, dict[str, Any]]:
    """Read the inputs of some answers, by id. Answers whose inputs are not kept are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, found = pa.array(ids, pa.string()), {}
    for table in read_tables(watch.home, watch.key, since_ms, until_ms, ("id", "at", "inputs"), Damage([])):
        here = table.filter(pc.is_in(table["id"], value_set=wanted))
        for identifier, inputs in zip(here["id"].to_pylist(), here["inputs"].to_pylist(), strict=True):
            if inputs is not None:
                found[identifier] = orjson.loads(inputs)
    return found


class _Joined:
    """Answers with their labels, file by file."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._tables: list[pa.Table] = []
        self._truth: list[NDArray[np.float64]] = []
        self._label_at: list[NDArray[np.int64]] = []
        self._answered: dict[int, int] = {}

    def add(self, table: "pa.Table", given: Mapping[str, DayLabels]) -> None:
        """Take the answers of one file."""
        import pyarrow as pa
        import pyarrow.compute as pc

        at = pc.cast(table["at"], pa.int64()).to_numpy()
        for day, count in zip(*np.unique(at // DAY_MS, return_counts=True), strict=True):
            self._answered[int(day)] = self._answered.get(int(day), 0) + int(count)
            labels = given.get(day_of(int(day) * DAY_MS))
            if labels is not None and len(labels.ids):
                own = table if count == len(at) else table.filter(pa.array(at // DAY_MS == day))
                self._add_day(own, labels)

    def _add_day(self, answers: "pa.Table", labels: DayLabels) -> None:
        import pyarrow.compute as pc

        places = pc.index_in(answers["id"], value_set=labels.ids)
        found = np.flatnonzero(places.is_valid().to_numpy())
        if len(found):
            chosen = places.take(found).to_numpy()
            self._tables.append(answers.take(found))
            self._truth.append(labels.truth[chosen])
            self._label_at.append(labels.at_ms[chosen])

    def build(self, total: int, odd: Oddities) -> LabelBook:
        """Put it together, each answer once, without labels that cannot be used.

        Args:
            total: Labels for which an answer was looked for.
            odd: What was wrong with the files.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        table = pa.concat_tables([_no_answers(), *self._tables])
        truth, label_at = np.concatenate([np.zeros(0), *self._truth]), np.concatenate([np.zeros(0, np.int64), *self._label_at])
        at = pc.cast(table["at"], pa.int64()).to_numpy()
        once = _first_of_each(table["id"])
        is_early, is_foreign = label_at < at - CLOCK_MS, np.isnan(truth)
        faults = LabelFaults(
            repeated=odd.repeated,
            contradicting=odd.contradicting,
            torn=odd.torn,
            early=int((is_early & once).sum()),
            foreign=int((is_foreign & ~is_early & once).sum()),
            unmatched=max(0, total - int(once.sum())),
        )
        kept = np.flatnonzero(once & ~is_early & ~is_foreign)
        return self._book(table.take(kept), at[kept], truth[kept], label_at[kept], faults)

    def _book(
        self, table: "pa.Table", at: NDArray[np.int64], truth: NDArray[np.float64], label_at: NDArray[np.int64], faults: LabelFaults
    ) -> LabelBook:
        import pyarrow as pa
        import pyarrow.compute as pc

        is_regression = self._manifest.task is Task.REGRESSION
        return LabelBook(
            ids=table["id"],
            at_ms=at,
            label_at_ms=label_at,
            version=np.asarray(table["version"].to_numpy()),
            is_own=np.asarray(pc.is_in(table["served_by"], value_set=pa.array(OWN_ANSWERS)).to_numpy(), dtype=np.bool_),
            truth=truth,
            values=np.asarray(table["value"].to_numpy(), dtype=np.float64),
            probabilities=None if is_regression else _matrix(table["probabilities"], len(self._manifest.classes)),
            answered_by_day=self._answered,
            faults=faults,
        )


def _no_answers() -> "pa.Table":
    from brandhouse_serving.prediction_table import schema

    return schema().empty_table().select(list(ANSWER_COLUMNS))


def _first_of_each(ids: "pa.ChunkedArray") -> NDArray[np.bool_]:
    """Which rows are the first of their id: a row that is being moved is in a journal and in Parquet."""
    import pyarrow.compute as pc

    if pc.count_distinct(ids).as_py() == len(ids):
        return np.ones(len(ids), dtype=np.bool_)
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    once = np.zeros(len(ids), dtype=np.bool_)
    once[np.unique(codes, return_index=True)[1]] = True
    return once


def _matrix(column: "pa.ChunkedArray", classes: int) -> NDArray[np.float64]:
    import pyarrow.compute as pc

    matrix = np.full((len(column), classes), np.nan)
    fits = pc.equal(pc.list_value_length(column), classes).fill_null(False)
    matrix[fits.to_numpy()] = pc.list_flatten(column.filter(fits)).to_numpy().reshape(-1, classes)
    return matrix
