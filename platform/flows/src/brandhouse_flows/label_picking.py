"""Which rows are worth a person's time: the uncertain, the disputed, and some at random.

Only arrays here; where rows come from is in `label_candidates`. Uncertainty is the margin between the two most probable
classes (Settles, Active Learning Literature Survey, 2009), and for numbers the width of the interval that the version's
own hold-out errors ask for near that prediction. Disagreement is the mean distance of other versions' answers from
production's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEIGHBOURS = 50
"""Hold-out rows of the nearest predictions that an interval is taken from."""

INTERVAL_SHARE = 0.8
"""Share of the errors that an interval covers."""


@dataclass(frozen=True, slots=True)
class Picked:
    """One row that was picked.

    Attributes:
        position: Among the candidates.
        by: `random`, or what it was picked by.
        score: How uncertain or disputed it is; None for one picked at random.
    """

    position: int
    by: str
    score: float | None


def pick_rows(scores: Floats | None, count: int, by: str, random_share: float, same: Sequence[object], seed: int) -> list[Picked]:
    """Pick rows, in a shuffled order that gives nothing away.

    The random part is drawn first, from all rows alike, so that it is a fair sample whatever else is picked.

    Args:
        scores: One a row, the higher the more worth it; None for `random`.
        count: Rows to pick; fewer if there are fewer.
        by: Name of what the scores say.
        random_share: Share of the picked rows that are drawn at random; at least one row if above 0.
        same: Rows with equal values here are the same to a person; of the scored part only one of them is picked.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    total = len(same)
    wanted = min(count, total)
    drawn = wanted if scores is None else min(wanted, max(round(wanted * random_share), 1 if random_share else 0))
    chosen = generator.permutation(total)[:drawn]
    picked = [Picked(int(position), "random", None) for position in chosen]
    if scores is not None:
        picked += _highest(scores, wanted - drawn, by, {int(position) for position in chosen}, same, generator)
    return [picked[place] for place in generator.permutation(len(picked))]


def margins(probabilities: Floats) -> Floats:
    """How near the second most probable class is: 1 where both are equally probable, 0 where one is certain. Shape (rows,)."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    highest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(1 - (highest[:, 1] - highest[:, 0]))


def interval_widths(predictions: Floats, held_out: Floats, truth: Floats) -> Floats:
    """How wide an interval the errors of held-out rows with the nearest predictions ask for.

    Args:
        predictions: Shape (rows,) of the rows to judge.
        held_out: Predictions of the hold-out.
        truth: Its target.
    """
    order = np.argsort(held_out, kind="stable")
    errors, places = np.abs(truth - held_out)[order], held_out[order]
    size = min(NEIGHBOURS, len(places))
    windows = np.lib.stride_tricks.sliding_window_view(errors, size)
    widths = 2 * np.quantile(windows, INTERVAL_SHARE, axis=1)
    start = np.searchsorted(places, predictions) - size // 2
    return np.asarray(widths[np.clip(start, 0, len(widths) - 1)])


def disagreement(production: Floats, others: Sequence[Floats]) -> Floats:
    """Mean distance of other versions' answers from production's: of probabilities in [0, 1], of numbers in their unit."""
    if production.ndim == 1:
        return np.asarray(np.mean([np.abs(other - production) for other in others], axis=0))
    return np.asarray(np.mean([np.abs(other - production).sum(axis=1) / 2 for other in others], axis=0))


def _highest(scores: Floats, count: int, by: str, taken: set[int], same: Sequence[object], generator: np.random.Generator) -> list[Picked]:
    """The rows of the highest scores above zero; equal scores in random order, rows that look the same once."""
    shuffled = generator.permutation(len(scores))
    seen = {same[position] for position in taken}
    picked: list[Picked] = []
    for position in shuffled[np.argsort(-scores[shuffled], kind="stable")]:
        if len(picked) == count:
            break
        if int(position) not in taken and same[position] not in seen and scores[position] > 0:
            seen.add(same[position])
            picked.append(Picked(int(position), by, float(scores[position])))
    return picked
