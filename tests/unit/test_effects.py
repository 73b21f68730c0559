"""How far distributions lie apart, and what it is called."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from brandhouse_flows.effects import number_chance, number_effect, say_effect, share_chance, share_effect


def test_number_effect_is_the_kolmogorov_smirnov_distance() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.integers(0, 30, 200), generator.integers(5, 40, 300)
    values = np.arange(40.0)
    counts = [np.bincount(sample, minlength=40) for sample in (before, after)]
    assert number_effect(values, *counts) == pytest.approx(ks_2samp(before, after).statistic)
    shuffled = generator.permutation(40)
    assert number_effect(values[shuffled], *(part[shuffled] for part in counts)) == pytest.approx(ks_2samp(before, after).statistic)


def test_share_effect_is_the_share_of_rows_that_would_have_to_be_others() -> None:
    assert share_effect(np.array([50, 50, 0]), np.array([50, 0, 50])) == 0.5
    assert share_effect(np.array([1, 1]), np.array([300, 300])) == 0
    assert share_effect(np.array([0, 0]), np.array([3, 3])) is None
    assert number_effect(np.array([1.0]), np.array([0]), np.array([2])) is None


def test_two_samples_of_one_source_are_within_chance_and_a_shift_is_not() -> None:
    generator = np.random.default_rng(1)
    draws = [generator.choice(5, 400, p=[0.4, 0.3, 0.1, 0.1, 0.1]) for _ in range(200)]
    counts = [np.bincount(draw, minlength=5) for draw in draws]
    exceeded = sum((share_effect(a, b) or 0) > share_chance(a, b) for a, b in zip(counts[::2], counts[1::2], strict=True))
    assert exceeded <= 5, "of a hundred pairs at most one in twenty"
    numbers = [np.sort(generator.normal(size=400)) for _ in range(200)]
    over = sum(ks_2samp(a, b).statistic > number_chance(400, 400) for a, b in zip(numbers[::2], numbers[1::2], strict=True))
    assert over <= 11
    assert (share_effect(np.array([200, 200]), np.array([320, 80])) or 0) > share_chance(np.array([200, 200]), np.array([320, 80]))


@pytest.mark.parametrize(
    ("effect", "chance", "word"),
    [(None, 0, "unknown"), (0.0, 0, "none"), (0.04, 0.05, "within chance"), (0.04, 0.01, "small"), (0.1, 0, "clear"), (0.25, 0, "large")],
)
def test_words_for_effects(effect: float | None, chance: float, word: str) -> None:
    assert say_effect(effect, chance) == word
