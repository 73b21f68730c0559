"""How long answers took, as counts in steps of a fifth: small, quick to add to, and the counts of several processes add up."""

import math
from collections.abc import Sequence

FIRST_MS = 0.01
STEP = 1.2
STEPS = 90
"""From 10 us to a minute and a half; what takes longer is in the last step."""

_LOG_STEP = math.log(STEP)


class Times:
    """Durations of answers."""

    def __init__(self) -> None:
        self.counts = [0] * STEPS

    def add(self, milliseconds: float) -> None:
        """Count one answer."""
        self.counts[_step_of(milliseconds)] += 1


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """Return the milliseconds within which a share of the answers came, up to a fifth too high; None without answers."""
    needed = share * sum(counts)
    so_far = 0
    for step, count in enumerate(counts):
        so_far += count
        if count and so_far >= needed:
            return FIRST_MS * STEP ** (step + 1)
    return None


def _step_of(milliseconds: float) -> int:
    if milliseconds <= FIRST_MS:
        return 0
    return min(STEPS - 1, int(math.log(milliseconds / FIRST_MS) / _LOG_STEP))
