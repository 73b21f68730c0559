"""Exact probabilities of counts that are as far out or further, from SciPy's special functions.

`scipy.stats` has them too and takes over a second to import, which is more than most monitors take.
"""

import numpy as np
from numpy.typing import NDArray

TERMS_AT_ONCE = 1_000_000


def binomial_at_least(count: int, rows: int, share: float) -> float:
    """Of so many rows at least `count`, if each is one with probability `share`."""
    from scipy.special import bdtrc

    return 1.0 if count <= 0 else float(bdtrc(count - 1, rows, share))


def poisson_at_least(count: int, expected: float) -> float:
    """At least `count` where so many are expected."""
    from scipy.special import pdtrc

    return 1.0 if count <= 0 else float(pdtrc(count - 1, expected))


def poisson_at_most(count: int, expected: float) -> float:
    """At most `count` where so many are expected."""
    from scipy.special import pdtr

    return float(pdtr(count, expected))


def drawn_at_least(count: int, rows: int, count_before: int, rows_before: int) -> float:
    """At least `count` of `rows`, if they and `count_before` of `rows_before` were drawn from one population.

    Fisher's exact test (1935), one-sided: the tail of the hypergeometric distribution.
    """
    from scipy.special import gammaln

    marked, everyone = count + count_before, rows + rows_before
    most = min(rows, marked)
    if count <= max(0, rows - (everyone - marked)):
        return 1.0

    def log_choose(n: "NDArray[np.float64] | float", k: "NDArray[np.float64] | float") -> NDArray[np.float64]:
        return np.asarray(gammaln(np.add(n, 1.0)) - gammaln(np.add(k, 1.0)) - gammaln(np.subtract(n, k) + 1.0))

    drawn = np.arange(count, min(most, count + TERMS_AT_ONCE) + 1, dtype=np.float64)  # terms shrink fast beyond the first
    terms = log_choose(marked, drawn) + log_choose(everyone - marked, rows - drawn) - log_choose(everyone, rows)
    return float(min(1.0, np.exp(terms).sum()))
