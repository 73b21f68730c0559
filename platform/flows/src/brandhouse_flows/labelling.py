"""Take labels back, see how far people agree, and what the labels say of the version that answered.

Files are in `label_book`, sheets in `label_sheets`, the choice of rows in `label_picking`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np

from brandhouse_flows.label_book import Label, LabelBook, PickedRow
from brandhouse_flows.label_sheets import FilledRow, LabelSheetError
from brandhouse_flows.scores import ScoreReport, bootstrap
from brandhouse_shared.config import ModelConfig, Scalar
from brandhouse_shared.errors import join_bounded
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

MIN_RATED = 10
"""Fewer rows than these say nothing of quality."""

MAX_NAME = 80


class _Refused(Exception):
    """A label was refused; the argument says what is allowed."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What a label may be.

    Attributes:
        classes: As in the data; empty for a regression.
        low: Smallest number that is taken; None: any.
        high: Largest.
    """

    task: Task
    classes: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None

    def parse(self, text: str) -> Scalar:
        """Read a cell. Raises `_Refused` with what is allowed."""
        return self._number(text) if self.task is Task.REGRESSION else self._class(text)

    def _class(self, text: str) -> Scalar:
        for form in (text, text.removeprefix("'")):  # an apostrophe keeps a spreadsheet from running a cell
            for known in self.classes:
                if form == str(known) or (not isinstance(known, str) and _as_number(form) == float(known)):
                    return known
        folded = [known for known in self.classes if str(known).strip().casefold() == text.casefold()]
        if len(folded) == 1:
            return folded[0]
        raise _Refused(f"the label is no class of the model; allowed: {join_bounded(self.classes, 30)}")

    def _number(self, text: str) -> float:
        number = _as_number(text)
        if number is None:
            raise _Refused("the label is no number")
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise _Refused(f"the label is far outside the trained range; allowed: {self.low:g} to {self.high:g}, or --beyond-range")
        return number


@dataclass(frozen=True, slots=True)
class Taken:
    """What came back with a sheet.

    Attributes:
        labels: New labels, in the sheet's order.
        corrected: Of them, those that replace another label of the same person.
        known: Labels that this person had given already.
        empty: Rows without a label.
    """

    labels: list[Label]
    corrected: int
    known: list[Label]
    empty: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two people agree.

    Attributes:
        rows: That both labelled.
        share: Of them with equal labels.
        kappa: Cohen's kappa (1960); None for numbers, and where both gave one and the same class only.
        mean_difference: Of numbers, in the target's unit; None for classes.
    """

    people: tuple[str, str]
    rows: int
    share: float
    kappa: float | None
    mean_difference: float | None


def widened_range(low: float, high: float) -> tuple[float, float]:
    """The range in which labels are taken without asking: half the width beyond either end, and not below zero if nothing is."""
    room = (high - low) / 2 or max(abs(high), 1.0)
    return (0.0 if low >= 0 else low - room), high + room


def take_labels(key: ModelKey, book: LabelBook, rule: LabelRule, rows: Sequence[FilledRow], by: str, now: datetime) -> Taken:
    """Check the rows of a sheet and keep their labels, all of them or none.

    Args:
        key: The model; rows of another model or brand are refused.
        book: Its picked rows and labels; gets the new labels.
        rule: What a label may be.
        rows: Of the sheet.
        by: Who labelled.
        now: In UTC.

    Raises:
        LabelSheetError: With every problem, by line.
    """
    name = by.strip()
    problems: dict[str, list[int]] = {}
    picked, known = book.picked(), book.labels()
    first_line: dict[str, int] = {}
    labels: list[Label] = []
    repeated: list[Label] = []
    corrected = empty = 0
    for row in rows:
        problem = _problem_of_id(key, row, picked, first_line)
        first_line.setdefault(row.row_id, row.line)
        if not problem and not row.label:
            empty += 1
            continue
        try:
            value = None if problem else rule.parse(row.label)
        except _Refused as refusal:
            problem = str(refusal)
        if problem or value is None:
            problems.setdefault(problem, []).append(row.line)
            continue
        before = known.get(row.row_id, {}).get(name)
        if before is not None and before.label == value:
            repeated.append(before)
            continue
        corrected += before is not None
        labels.append(Label(row.row_id, value, name, now.isoformat(timespec="seconds")))
    told = [f"line {join_bounded(lines, 8)}: {problem}" for problem, lines in problems.items()]
    if not (0 < len(name) <= MAX_NAME and name.isprintable()):
        told.append(f"--by-whom: allowed: 1 to {MAX_NAME} printable characters")
    if told:
        raise LabelSheetError(key, told)
    if labels:
        book.add_labels(labels)
    return Taken(labels, corrected, repeated, empty)


def settled_labels(labels: Mapping[str, Mapping[str, Label]], task: Task) -> dict[str, Scalar]:
    """One label per row where people agree; of numbers the mean. Rows on which people differ are left out."""
    settled: dict[str, Scalar] = {}
    for row_id, by_person in labels.items():
        values = [label.label for label in by_person.values()]
        if task is Task.REGRESSION:
            settled[row_id] = math.fsum(float(value) for value in values) / len(values)
        elif len(set(values)) == 1:
            settled[row_id] = values[0]
    return settled


def agreements(labels: Mapping[str, Mapping[str, Label]], task: Task) -> list[Agreement]:
    """How each pair of people who labelled the same rows agrees, most common rows first."""
    people = sorted({person for by_person in labels.values() for person in by_person})
    found = []
    for pair in combinations(people, 2):
        both = [(rated[pair[0]].label, rated[pair[1]].label) for rated in labels.values() if set(pair) <= set(rated)]
        if both:
            found.append(_agreement(pair, both, task))
    return sorted(found, key=lambda agreement: -agreement.rows)


def estimate_quality(
    model: ModelConfig, classes_of: Callable[[int], Sequence[Scalar]], picked: Mapping[str, PickedRow], settled: Mapping[str, Scalar]
) -> dict[int, ScoreReport]:
    """Score versions on the rows that were drawn at random: the only ones that stand for all.

    Args:
        model: Says the metric.
        classes_of: A version's classes, in the order of its probabilities; not asked for a regression.
        picked: The picked rows by id.
        settled: Their labels.

    Returns:
        Version to its score, where at least `MIN_RATED` such rows are labelled and its answer to them is kept. A label
        of a class that a version does not know cannot be scored and is left out of that version's rows.
    """
    by_version: dict[int, list[tuple[Scalar, Any]]] = {}
    for row_id, label in settled.items():
        row = picked.get(row_id)
        if row and row.by == "random" and row.version is not None and row.prediction is not None:
            by_version.setdefault(row.version, []).append((label, row.prediction))
    pairs_of = {version: _encoded(model.task, classes_of, version, pairs) for version, pairs in by_version.items()}
    return {version: _score(model.metric, pairs) for version, pairs in pairs_of.items() if len(pairs) >= MIN_RATED}


def _encoded(
    task: Task, classes_of: Callable[[int], Sequence[Scalar]], version: int, pairs: Sequence[tuple[Scalar, Any]]
) -> list[tuple[float, Any]]:
    if task is Task.REGRESSION:
        return [(float(label), answer) for label, answer in pairs]
    codes = {known: code for code, known in enumerate(classes_of(version))}
    return [(codes[label], answer) for label, answer in pairs if label in codes]


def _score(metric: str, pairs: Sequence[tuple[Any, Any]]) -> ScoreReport:
    truth, answers = zip(*pairs, strict=True)
    return bootstrap(metric, np.array(truth), np.array(answers, dtype=np.float64))


def _problem_of_id(key: ModelKey, row: FilledRow, picked: Mapping[str, PickedRow], first_line: Mapping[str, int]) -> str:
    if not row.row_id.startswith(f"{key.brand}.{key.model}."):
        return f"the row_id is none of {key}; take the sheet with the model it was written for"
    if row.row_id in first_line:
        return f"the row_id is in line {first_line[row.row_id]} already; keep one of them"
    return "" if row.row_id in picked else f"{key} never picked a row of that id"


def _agreement(pair: tuple[str, str], both: Sequence[tuple[Scalar, Scalar]], task: Task) -> Agreement:
    share = sum(one == other for one, other in both) / len(both)
    if task is Task.REGRESSION:
        return Agreement(pair, len(both), share, None, math.fsum(abs(float(a) - float(b)) for a, b in both) / len(both))
    return Agreement(pair, len(both), share, _kappa(both), None)


def _kappa(both: Sequence[tuple[Scalar, Scalar]]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    first, second = ([str(value) for value in side] for side in zip(*both, strict=True))
    if len({*first, *second}) < 2:
        return None  # with one class there is no chance agreement to correct for
    return float(cohen_kappa_score(first, second))


def _as_number(text: str) -> float | None:
    """A number as spreadsheets write it: with a decimal point or comma, and with an apostrophe in front."""
    plain = text.strip().removeprefix("'").replace("\N{NO-BREAK SPACE}", "")
    plain = plain.replace(",", ".") if plain.count(",") == 1 and "." not in plain else plain
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
