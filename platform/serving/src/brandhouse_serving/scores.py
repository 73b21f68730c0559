"""From a runtime's scores to what is answered, for the gateway and for a Bento that serves alone, which carries this file."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from brandhouse_serving.failures import VersionFailedError
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.metrics import Task

Scores = Sequence[Any]
"""One entry a row: a number (regression) or one probability per class."""


def check_scores(scores: Scores, subject: str) -> Scores:
    """Return finite scores unchanged.

    Raises:
        VersionFailedError: If one is not a finite number: no answer is better than NaN.
    """
    # What is not finite makes the sum so; a sum may also leave the finite numbers by itself, and is then not believed.
    is_flat = isinstance(scores[0], float)
    if math.isfinite(sum(scores) if is_flat else sum(chain.from_iterable(scores))):
        return scores
    for score in scores:
        if not (math.isfinite(score) if isinstance(score, float) else all(map(math.isfinite, score))):
            raise VersionFailedError(subject, "answered a number that is not finite")
    return scores


def predictions_of(manifest: Manifest, scores: Scores) -> tuple[Sequence[Any], Sequence[Sequence[float]] | None]:
    """Turn scores into what is returned: numbers, or the most probable labels (the first of equals) and probabilities."""
    if manifest.task is Task.REGRESSION:
        return scores, None
    classes = manifest.classes
    if len(classes) == 2:
        first, second = classes
        return [first if one >= other else second for one, other in scores], scores
    return [classes[row.index(max(row))] for row in scores], scores
