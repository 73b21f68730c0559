"""What is learned: task, positive class, metric and ready module, from the target's values and name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.name_words import CLASS, COUNT, POSITIVE, PRICE, name_words
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_flows.splits import MIN_SIDE_ROWS
from brandhouse_shared.config import Split
from brandhouse_shared.contracts import FALSE_WORDS, TRUE_WORDS
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.metrics import Task

MAX_CLASSES = 50
"""With more, most classes have too few rows, and every one costs a model of its own."""

MAX_NUMERIC_CLASSES = 10
"""Whole numbers of at most so many different values may be classes."""

SURE_CLASSES = 4
"""Whole numbers of at most so many different values are taken for classes, whatever their name."""

MIN_CLASS_ROWS = 8
"""Rows of the rarest class: held out are a quarter, and three folds need some of the rest."""

RARE_SHARE = 0.2
"""Positive rows; with fewer, ranking by average precision says more than the area under ROC."""

ZERO_SHARE = 0.2
FEW_ROWS = 300
_PLAIN_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")


@dataclass(frozen=True)
class Goal:
    """What is learned.

    Attributes:
        task: regression, binary or multiclass.
        positive: Positive class of a binary task, as in the data.
        metric: What versions are judged by.
        ready: Ready module that fits the target.
        truth: Number of each distinct value of the target: the value, or its class code.
        reasons: Key of `brand.toml` to a comment.
        decisions: For the table.
    """

    task: Task
    positive: str | int | None
    metric: str
    ready: str
    truth: NDArray[np.float64]
    reasons: dict[str, str]
    decisions: tuple[Decision, ...]


def choose_goal(target: ColumnProfile, task: Task | None = None) -> Goal:
    """Decide from the target's values.

    Args:
        target: The column to predict.
        task: What a person wants to be learned; None leaves it to the values.

    Raises:
        DatasetError: If the target cannot be learned: no value, one value, too few rows, too many or too rare classes.
    """
    _require_rows(target)
    dropped = _say_missing(target)
    goal = _GOALS[task or _fitting_task(target)](target)
    few = [Decision("rows", f"{target.known:,} to learn from", "so few that a model may not beat a simple one", attention=True)]
    decisions = (*goal.decisions, *dropped, *(few if target.known < FEW_ROWS else ()))
    return Goal(goal.task, goal.positive, goal.metric, goal.ready, goal.truth, goal.reasons, decisions)


def _fitting_task(target: ColumnProfile) -> Task:
    if target.distinct == 2:
        return Task.BINARY
    return Task.REGRESSION if target.all_numbers and not _are_classes(target) else Task.MULTICLASS


def _require_rows(target: ColumnProfile) -> None:
    if not target.known:
        raise DatasetError(f"the target {target.name!r} has no value in any of {target.rows:,} rows; a model needs rows with an answer")
    if target.distinct == 1:
        raise DatasetError(
            f"the target {target.name!r} is the same in all {target.known:,} rows that have one; there is nothing to learn from it"
        )
    share = Split().holdout_share
    needed = int(np.ceil(MIN_SIDE_ROWS / min(share, 1 - share)))
    if target.known < needed:
        raise DatasetError(
            f"too little: {target.known:,} rows have a value of the target {target.name!r}, at least {needed} are needed so that "
            f"{MIN_SIDE_ROWS} can be held out; a few hundred make a model worth having. Bring more rows"
        )


def _say_missing(target: ColumnProfile) -> list[Decision]:
    if not target.missing:
        return []
    return [
        Decision(
            "rows",
            f"{target.missing:,} of {target.rows:,} not used",
            "they have no value of the target; nothing is learned from them",
            attention=True,
        )
    ]


def _binary(target: ColumnProfile) -> Goal:
    if target.distinct != 2:
        raise DatasetError(f"the target {target.name!r} has {target.distinct:,} different values; a binary task has exactly two")
    values = target.values.to_pylist()
    counts = dict(zip(values, target.counts.tolist(), strict=True))
    _require_class_rows(target)
    positive, why = _positive(values, counts)
    share = counts[positive] / target.known
    metric = "average_precision" if share < RARE_SHARE else "roc_auc"
    fits = f"{share:.0%} of the rows are positive" + (
        "; it looks at how well these few are found" if share < RARE_SHARE else "; it does not depend on a cut"
    )
    declared = int(positive) if all(_PLAIN_WHOLE.fullmatch(value) for value in values) else positive
    return Goal(
        Task.BINARY,
        declared,
        metric,
        "yes_no",
        np.array([float(value == positive) for value in values]),
        {"metric": fits, "positive": why},
        (
            Decision("target", "yes or no", f"{target.name} has two values; {why}", attention=why.startswith("the rarer")),
            Decision("metric", metric, fits),
        ),
    )


def _positive(values: list[str], counts: dict[str, int]) -> tuple[str, str]:
    named = [value for value in values if value.strip().lower() in TRUE_WORDS | POSITIVE]
    negative = [
        value
        for value in values
        if value.strip().lower() in FALSE_WORDS or value.strip().lower().startswith(("no ", "not ", "non", "niet "))
    ]
    if len(named) == 1:
        return named[0], "the positive class is the one that means yes"
    if len(negative) == 1:
        return next(value for value in values if value != negative[0]), "the positive class is the one that does not mean no"
    rarer = min(sorted(values), key=lambda value: counts[value])
    return rarer, "the rarer one is taken for the positive class"


def _are_classes(target: ColumnProfile) -> bool:
    """Whether whole numbers are names of classes rather than quantities: very few of them, or few and named so."""
    if not target.all_whole or target.distinct > MAX_NUMERIC_CLASSES or int(target.counts.min()) < MIN_CLASS_ROWS:
        return False
    return target.distinct <= SURE_CLASSES or bool(set(name_words(target.name)) & CLASS)


def _regression(target: ColumnProfile) -> Goal:
    if not target.all_numbers:
        raise DatasetError(f"the target {target.name!r} holds other things than numbers; a regression needs numbers")
    words = set(name_words(target.name))
    numbers, counts = target.numbers, target.counts
    zeros = float(counts[numbers == 0].sum() / target.known)
    mean = float(np.average(numbers, weights=counts))
    spread = float(np.sqrt(np.average((numbers - mean) ** 2, weights=counts)))
    skew = float(np.average(((numbers - mean) / spread) ** 3, weights=counts))
    counts_something = bool(words & COUNT) or (numbers.max() <= 30 and spread**2 >= mean / 2)
    is_counted = target.all_whole and numbers.min() >= 0 and counts_something and not words & PRICE
    if is_counted and target.distinct > 2:
        ready, why = "counts", "whole numbers from zero look like counts"
    elif numbers.min() > 0 and skew > 1:
        ready, why = "prices", "positive and with a long tail, so errors are judged by their share of it"
    else:
        ready, why = "amounts", "numbers whose errors count alike everywhere"
    metric = "rmse" if ready == "counts" or zeros > ZERO_SHARE else "mae"
    fits = (
        "many rows are zero, so the typical error says little"
        if zeros > ZERO_SHARE
        else "the answer is an expected number, so large errors count more"
    )
    fits = fits if metric == "rmse" else "how far off an answer is on average, in the target's own unit"
    few = target.distinct <= MAX_NUMERIC_CLASSES
    said = f"{target.name} holds {target.distinct:,} different numbers; {why}" + (
        "; if they stand for classes, set the task by hand" if few else ""
    )
    return Goal(
        Task.REGRESSION,
        None,
        metric,
        ready,
        numbers,
        {"metric": fits, "estimator": why},
        (Decision("target", "a number", said, attention=few), Decision("metric", metric, fits)),
    )


def _multiclass(target: ColumnProfile) -> Goal:
    numeric = float(target.counts[target.is_number].sum() / target.known)
    if target.distinct > MAX_CLASSES:
        if numeric == 1:
            advice = "all of its rows are numbers: learn it as a regression (leave --task out)"
        elif numeric > 0.5:
            advice = f"{numeric:.0%} of its rows are numbers: correct the others in the table, and it becomes a number to predict"
        elif target.distinct > target.known / 2:
            advice = "nearly every row has its own, so it looks like a name or a text; choose another target"
        else:
            advice = f"merge them into at most {MAX_CLASSES} in the table, or choose another target"
        raise DatasetError(f"the target {target.name!r} has {target.distinct:,} classes; allowed: at most {MAX_CLASSES}; {advice}")
    _require_class_rows(target)
    fits = "it judges the probability of every class, not the most probable one alone"
    return Goal(
        Task.MULTICLASS,
        None,
        "log_loss",
        "classes",
        _class_codes(target),
        {"metric": fits},
        (
            Decision(
                "target",
                f"one of {target.distinct} classes",
                f"{target.name} has {target.distinct} different values",
                attention=target.all_numbers,
            ),
            Decision("metric", "log_loss", fits),
        ),
    )


def _class_codes(target: ColumnProfile) -> NDArray[np.float64]:
    return np.arange(target.distinct, dtype=np.float64)


def _require_class_rows(target: ColumnProfile) -> None:
    rare = int((target.counts < MIN_CLASS_ROWS).sum())
    if rare:
        raise DatasetError(
            f"too little: {rare} of {target.distinct} classes of the target {target.name!r} have fewer than {MIN_CLASS_ROWS} rows "
            f"(the rarest has {int(target.counts.min())}); each must be learned and "
            "judged. Merge rare classes, leave their rows out, or bring more rows"
        )


_GOALS: dict[Task, Callable[[ColumnProfile], Goal]] = {Task.REGRESSION: _regression, Task.BINARY: _binary, Task.MULTICLASS: _multiclass}
