"""From rows to answers: exactly the number that a request with this one row gets.

A row that contradicts the input schema gets no number but the reason, like a request; so does a row that the version cannot
answer. The rows beside it are answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brandhouse_flows.batch_input import Chunk, raw_table
from brandhouse_shared.answering import Predictor
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.config import Dataset
from brandhouse_shared.contracts import Contract, Refusal
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.metrics import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK_ROWS = 1024
"""Rows that a version is asked at once, if its numbers do not depend on that."""

PROBES = 3
"""Rows of each block that are asked alone as well. Of a compiled version's first block, which costs little, all are."""

Columns = Mapping[str, Sequence[Any]]


class RowsInfluenceError(BrandhouseError):
    """A row's number was another among others than alone."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a chunk's rows got.

    Attributes:
        predictions: A number or a label a row; None where there is an error.
        probabilities: One list a class, one number a row; empty for a regression.
        errors: What is wrong with a row; None where there is an answer.
        refused: How many rows contradict the input schema.
        failed: How many rows the version could not answer.
    """

    predictions: list[Any]
    probabilities: list[list[float | None]]
    errors: list[str | None]
    refused: int
    failed: int


class RowAnswerer:
    """Answers chunks with one loaded version."""

    def __init__(self, predictor: Predictor, manifest: Manifest, dataset: Dataset, *, alone: bool) -> None:
        self._predictor = predictor
        self._manifest = manifest
        self._contract: Contract = manifest.contract
        self._dataset = dataset
        self._alone = alone
        self._is_first = manifest.runtime is Runtime.COMPILED

    def answer(self, chunk: Chunk) -> Answers:
        """Answer all rows of a chunk.

        Raises:
            RowsInfluenceError: If blocks turn out to give other numbers than rows alone.
        """
        frame, refusals = self._contract.refuse_cells(raw_table(chunk, self._contract, self._dataset))
        errors = _reasons(refusals, chunk.rows)
        good = [index for index, error in enumerate(errors) if error is None]
        columns = self._contract.columns_of(frame.iloc[good])
        scores = self._score(columns, len(good))
        found: list[Any] = [None] * chunk.rows
        for index, score in zip(good, scores, strict=True):
            if isinstance(score, str):
                errors[index] = score
            else:
                found[index] = score
        failed = sum(isinstance(score, str) for score in scores)
        return self._shape(found, errors, chunk.rows - len(good), failed)

    def _score(self, columns: Columns, rows: int) -> list[Any]:
        """One score a row, or the text that says why there is none."""
        if self._alone:
            return [self._score_alone(columns, index) for index in range(rows)]
        scores: list[Any] = []
        for first in range(0, rows, BLOCK_ROWS):
            scores += self._score_block({name: values[first : first + BLOCK_ROWS] for name, values in columns.items()})
        return scores

    def _score_block(self, block: Columns) -> list[Any]:
        rows = len(next(iter(block.values())))
        try:
            scores = self._predictor.predict(block)
        except Exception:  # brand code or a graph may raise anything; alone, each row says for itself
            return [self._score_alone(block, index) for index in range(rows)]
        step = 1 if self._is_first else max(1, rows // PROBES)
        for index in range(0, rows, step):
            self._probe(block, index, scores)
        self._is_first = False
        return [_checked(score) for score in scores.tolist()]

    def _probe(self, block: Columns, index: int, scores: npt.NDArray[np.float64]) -> None:
        alone = self._score_alone(block, index)
        if not isinstance(alone, str) and alone != scores[index].tolist():
            raise RowsInfluenceError(f"{self._manifest.key}: a row's number depends on the rows that are asked with it")

    def _score_alone(self, columns: Columns, index: int) -> Any:
        try:
            (score,) = self._predictor.predict({name: values[index : index + 1] for name, values in columns.items()}).tolist()
        except Exception as error:  # brand code or a graph may raise anything; its text may hold the row's values
            return f"the version cannot answer this row ({type(error).__name__})"
        return _checked(score)

    def _shape(self, scores: list[Any], errors: list[str | None], refused: int, failed: int) -> Answers:
        if self._manifest.task is Task.REGRESSION:
            return Answers(scores, [], errors, refused, failed)
        classes = self._manifest.classes
        labels = [None if row is None else classes[row.index(max(row))] for row in scores]
        shares = [[None if row is None else row[place] for row in scores] for place in range(len(classes))]
        return Answers(labels, shares, errors, refused, failed)


def _checked(score: Any) -> Any:
    values = score if isinstance(score, list) else [score]
    return score if all(map(math.isfinite, values)) else "the version answered a number that is not finite"


def _reasons(refusals: Sequence[Refusal], rows: int) -> list[str | None]:
    """One text a row that contradicts the input schema, naming every field."""
    reasons: list[str | None] = [None] * rows
    for refusal in refusals:
        text = f"{refusal.field}: {refusal.reason}"
        for index in refusal.rows.nonzero()[0].tolist():
            reasons[index] = text if reasons[index] is None else f"{reasons[index]}; {text}"
    return reasons
