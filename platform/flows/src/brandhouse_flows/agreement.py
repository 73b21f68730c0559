"""How far a compiled model may differ from scikit-learn, and how far it does.

Judged on the whole hold-out, rows with fields made missing included. The rules:

- regression: every row's difference is at most 1e-5 of the larger of the answer's magnitude and the answers' standard
  deviation (single precision carries about 6e-8, a sum over hundreds of trees or terms about 1e-6);
- classification: every probability differs by at most 1e-5, and every label is the same. Rows whose two most probable
  classes scikit-learn itself separates by less than 1e-6 are tied: their label is a matter of rounding, they are
  counted and reported instead.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from brandhouse_shared.metrics import Task

RELATIVE_TOLERANCE = 1e-5
PROBABILITY_TOLERANCE = 1e-5
TIE_MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison found.

    Attributes:
        rows: Rows compared.
        max_difference: Largest difference: of probabilities, or of answers as a share of the row's scale.
        tolerance: What is allowed of it.
        labels_changed: Rows with another label, ties not counted.
        ties: Rows whose label is a matter of rounding.
    """

    rows: int
    max_difference: float
    tolerance: float
    labels_changed: int = 0
    ties: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the compiled model may answer."""
        return self.max_difference <= self.tolerance and not self.labels_changed

    def merge(self, other: "Agreement") -> "Agreement":
        """Both comparisons as one."""
        return Agreement(
            self.rows + other.rows,
            max(self.max_difference, other.max_difference),
            self.tolerance,
            self.labels_changed + other.labels_changed,
            self.ties + other.ties,
        )

    def __str__(self) -> str:
        text = f"largest difference {self.max_difference:.1e} on {self.rows} rows (allowed {self.tolerance:.0e})"
        text += f", {self.labels_changed} labels changed" if self.labels_changed else ""
        return text + (f", {self.ties} ties" if self.ties else "")


def compare(expected: "np.ndarray[Any, Any]", actual: "np.ndarray[Any, Any]", task: Task) -> Agreement:
    """Compare the compiled model's answers with scikit-learn's.

    Args:
        expected: scikit-learn's, of shape (rows,) or (rows, classes).
        actual: ONNX Runtime's, of the same shape.
        task: What is predicted.
    """
    if expected.shape != actual.shape:
        return Agreement(len(expected), np.inf, 0.0)
    return _compare_numbers(expected, actual) if task is Task.REGRESSION else _compare_classes(expected, actual)


def _compare_numbers(expected: "np.ndarray[Any, Any]", actual: "np.ndarray[Any, Any]") -> Agreement:
    scale = np.maximum(np.abs(expected), np.std(expected))
    difference = np.abs(actual - expected) / np.where(scale > 0, scale, 1.0)
    return Agreement(len(expected), _largest(difference), RELATIVE_TOLERANCE)


def _compare_classes(expected: "np.ndarray[Any, Any]", actual: "np.ndarray[Any, Any]") -> Agreement:
    changed = expected.argmax(axis=1) != actual.argmax(axis=1)
    best = np.sort(expected, axis=1)[:, -2:]
    tied = best[:, -1] - best[:, 0] < TIE_MARGIN
    largest = _largest(np.abs(actual - expected))
    return Agreement(len(expected), largest, PROBABILITY_TOLERANCE, int((changed & ~tied).sum()), int((changed & tied).sum()))


def _largest(difference: "np.ndarray[Any, Any]") -> float:
    """The largest difference; an answer that is no number differs without limit."""
    return float(np.max(np.where(np.isnan(difference), np.inf, difference), initial=0.0))
