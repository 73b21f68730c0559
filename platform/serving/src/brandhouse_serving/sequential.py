"""The evidence that a canary or shadow does harm: pure statistics, valid at whatever moment one looks.

Each test is a bet against the hypothesis "no harm". It begins with a wealth of 1 and, if there is no harm, cannot be
expected to gain, whatever happened before (a test supermartingale). By Ville's inequality the wealth then ever reaches
1/a with probability a at most, however often one looks. What is called evidence here is the wealth's logarithm.

Risk of the canary against production's, both unknown: which requests a canary answers is drawn by a hash of the
request's key, so that something that befalls canary and production alike befalls the canary with a probability that is
its share, whatever the requests are like and however that changes over time. Each such event is a bet on where it
happened (two-sample testing by predicting the sample: Lheritier and Cazals 2018, doi:10.1109/TIT.2018.2800658).

Mean against a limit: for values between 0 and 1 (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting", doi:10.1093/jrsssb/qkad009).

How strongly to bet depends on how large the harm is, which is not known: the wealth is the mean over several bets, held
side by side (the method of mixtures; Ramdas, Gruenwald, Vovk and Shafer 2023, doi:10.1214/23-STS894).
"""

import math
from collections.abc import Sequence

ALPHA = 0.01
"""Probability that a harmless canary is ever stopped, by any of the tests."""

TESTS = 3
"""Errors, slowness, disagreement; each gets an equal part of `ALPHA` (Bonferroni)."""

ENOUGH = math.log(TESTS / ALPHA)
"""Evidence at which a test says harm: a wealth of 300."""

RISK_RATIOS = (1.5, 2.0, 4.0, 10.0, 100.0)
"""How many times production's risk the bets suppose the canary's to be."""

EXCESSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""How far from the limit to 1 the bets suppose a mean to be."""

CAUGHT_RATE = 0.05
"""Share of failing answers whose detection is planned for, when it is said how many requests are enough."""


def risk_evidence(canary: int, production: int, share: float) -> float:
    """Return the evidence that something befalls the canary's requests more often than production's.

    Args:
        canary: Keys of the canary's that it befell, each counted once.
        production: The same of production's.
        share: Of the keys that are the canary's, above 0 and below 1.
    """
    events = canary + production
    return mix([canary * math.log(ratio) - events * math.log1p((ratio - 1) * share) for ratio in RISK_RATIOS])


def mean_gains(value: float, limit: float) -> list[float]:
    """Return what each bet against "the mean is at most the limit" gains by one value, as logarithms to be added up.

    Args:
        value: Between 0 and 1.
        limit: Above 0 and below 1.
    """
    return [math.log1p(excess / limit * (value - limit)) for excess in EXCESSES]


def mix(gains: Sequence[float]) -> float:
    """Return the evidence of bets held side by side: the logarithm of their mean wealth."""
    highest = max(gains)
    return highest + math.log(sum(math.exp(gain - highest) for gain in gains) / len(gains))


def requests_to_catch_errors(share: float) -> int:
    """About how many of a canary's requests show that it fails in `CAUGHT_RATE` of them, if production does not fail."""
    failures = next(count for count in range(1, 1_000_000) if risk_evidence(count, 0, share) >= ENOUGH)
    return math.ceil(failures / CAUGHT_RATE)


def requests_to_catch_disagreement(limit: float) -> int:
    """About how many compared requests show a disagreement half-way between the limit and all."""
    mean = (1 + limit) / 2
    growth = [mean * hit + (1 - mean) * miss for hit, miss in zip(mean_gains(1.0, limit), mean_gains(0.0, limit), strict=True)]
    return math.ceil((ENOUGH + math.log(len(EXCESSES))) / max(growth))
