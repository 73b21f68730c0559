"""Whether the time of a refusal tells what exists: a foreign model, a missing one, and a brand that does not exist.

Requests of the three kinds take turns, so that whatever else the machine does meets all alike. The effect size is how much
more often than not an answer of one kind takes longer than one of the other: 0 is no difference, 0.5 is always. With n
answers a kind its standard deviation is about sqrt(1 / (6 n)) without any difference; the bound is several of them.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from brandhouse_console.isolation_world import World

ROUNDS = 500
BOUND = 0.10
"""Largest effect size that passes."""

DEVIATIONS = 5.0
"""With few rounds the bound is wider: so many standard deviations of chance alone, about one false alarm in a million."""

PAIRS = 3
SURFACE = "timing of 403"


@dataclass(frozen=True, slots=True)
class Timing:
    """Two kinds of refusals compared.

    Attributes:
        medians_us: Of both kinds.
        effect: Size, from 0 to 0.5.
        bound: Largest that passes.
    """

    attacker: str
    victim: str
    kinds: tuple[str, str]
    medians_us: tuple[float, float]
    effect: float
    bound: float

    @property
    def is_told_apart(self) -> bool:
        """Whether the time says which kind it was."""
        return self.effect > self.bound


def measure_timing(world: World, attacker: str, victim: str, rounds: int = ROUNDS) -> list[Timing]:
    """Time the refusals of one brand's requests for what another has and has not."""
    model = world.model(victim)
    paths = {
        "a model of that brand": f"/v1/{model}/predict",
        "no model of that brand": f"/v1/{victim}/{'x' * len(model.model)}/predict",
        "no such brand": f"/v1/{'x' * len(victim)}/{model.model}/predict",
    }
    taken: dict[str, list[float]] = {kind: [] for kind in paths}
    orders = itertools.cycle(itertools.permutations(paths))
    for _ in range(rounds):
        for kind in next(orders):
            began = time.perf_counter()
            world.client.call("POST", paths[kind], world.keys[attacker], {"instances": []})
            taken[kind].append(time.perf_counter() - began)
    return [_compare(attacker, victim, one, other, taken[one], taken[other]) for one, other in itertools.combinations(paths, 2)]


def _compare(attacker: str, victim: str, one: str, other: str, first: Sequence[float], second: Sequence[float]) -> Timing:
    from statistics import median

    medians = (1e6 * median(first), 1e6 * median(second))
    return Timing(attacker, victim, (one, other), medians, effect_size(first, second), bound_of(len(first)))


def bound_of(rounds: int) -> float:
    """Largest effect size that passes after so many rounds."""
    return float(max(BOUND, DEVIATIONS * (6 * rounds) ** -0.5))


def effect_size(first: Sequence[float], second: Sequence[float]) -> float:
    """Distance from one half of the chance that a value of the first kind is larger (Mann and Whitney's U, ties halved)."""
    from scipy.stats import mannwhitneyu

    statistic = float(mannwhitneyu(first, second).statistic)
    return abs(statistic / (len(first) * len(second)) - 0.5)
