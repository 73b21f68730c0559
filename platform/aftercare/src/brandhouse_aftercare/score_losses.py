"""Is a score worse than an earlier one by more than chance explains, and by enough to matter?

Scores are compared as normal numbers with known errors: each error is told from the width of a bootstrap interval. Both
conditions have to hold for an alarm: a loss that is large enough, and one that chance gives with a probability below the
limit. Of many looks at once, Holm's rule (1979) decides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from brandhouse_shared.metrics import METRICS

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with its interval.

    Attributes:
        low: Lower end; NaN if unknown.
        high: Upper end.
        confidence: Of the interval.
    """

    score: float
    low: float
    high: float
    confidence: float

    @property
    def error(self) -> float:
        """Standard error, from the interval's width."""
        return (self.high - self.low) / (2 * _NORMAL.inv_cdf((1 + self.confidence) / 2))

    @property
    def is_known(self) -> bool:
        """Whether there is a score with an interval."""
        return all(math.isfinite(value) for value in (self.score, self.low, self.high))


@dataclass(frozen=True, slots=True)
class Loss:
    """How much worse a score is than another one.

    Attributes:
        loss: In the metric's unit; positive is worse, whatever the direction.
        share: As a share of the earlier score; infinite where that is 0 and something was lost.
        low: Lower end of the loss's interval.
        high: Upper end.
        chance: Probability of such a loss, or a larger one, if nothing had changed.
    """

    loss: float
    share: float
    low: float
    high: float
    chance: float


def loss_between(metric: str, before: Scored, now: Scored) -> Loss:
    """Compare a score with an earlier one of other rows. Both must be known."""
    sign = 1.0 if METRICS[metric].greater_is_better else -1.0
    loss = sign * (before.score - now.score)
    error = math.hypot(before.error, now.error)
    half = error * _NORMAL.inv_cdf((1 + now.confidence) / 2)
    return Loss(loss, _share(loss, before.score), loss - half, loss + half, _chance(loss, error))


def loss_to(metric: str, limit: float, now: Scored) -> Loss:
    """Compare a score with a limit that is not measured, such as a gate's threshold."""
    return loss_between(metric, Scored(limit, limit, limit, now.confidence), now)


def improbable(chances: Sequence[float], alarm_share: float) -> list[bool]:
    """Say of each test whether chance is no explanation, with `alarm_share` for all of them together (Holm)."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    rejected = [False] * len(chances)
    for rank, place in enumerate(order):
        if not chances[place] < alarm_share / (len(chances) - rank):
            break
        rejected[place] = True
    return rejected


def _share(loss: float, score: float) -> float:
    if score:
        return loss / abs(score)
    return math.inf if loss > 0 else 0.0


def _chance(loss: float, error: float) -> float:
    if error > 0:
        return 1 - _NORMAL.cdf(loss / error)
    return 0.0 if loss > 0 else 1.0
