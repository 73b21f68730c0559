"""Which rows are worth labelling."""

import numpy as np

from brandhouse_flows.label_picking import disagreement, interval_widths, margins, pick_rows


def test_the_most_uncertain_are_picked_and_a_share_at_random() -> None:
    scores = np.linspace(0.001, 1, 1000)
    picked = pick_rows(scores, 50, "uncertainty", 0.2, range(1000), seed=1)
    by = [one.by for one in picked]
    assert (by.count("random"), by.count("uncertainty"), len({one.position for one in picked})) == (10, 40, 50)
    assert all(one.position >= 940 for one in picked if one.by == "uncertainty")
    assert by != sorted(by), "the order gives nothing away"


def test_the_random_part_is_a_fair_sample_whatever_the_scores() -> None:
    scores = np.linspace(0.001, 1, 100)
    drawn = [one.position for seed in range(400) for one in pick_rows(scores, 10, "u", 0.5, range(100), seed) if one.by == "random"]
    assert len(drawn) == 2000
    assert abs(np.mean(drawn) - 49.5) < 2.5
    assert np.bincount(drawn, minlength=100).min() > 5, "every row can be drawn, the certain ones too"


def test_rows_that_look_the_same_are_scored_once_and_certain_ones_not_at_all() -> None:
    picked = pick_rows(np.array([0.9, 0.9, 0.5, 0.0]), 4, "uncertainty", 0.0, ["a", "a", "b", "c"], seed=0)
    assert sorted(one.score or 0 for one in picked) == [0.5, 0.9]


def test_fewer_rows_than_wanted_are_all_picked_at_random() -> None:
    assert sorted(one.position for one in pick_rows(None, 9, "random", 0.2, range(3), seed=0)) == [0, 1, 2]


def test_margin_is_one_where_two_classes_are_equally_probable() -> None:
    assert margins(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.1, 0.7]])).tolist() == [1.0, 0.0, 0.5]


def test_intervals_are_wide_where_the_hold_out_erred_most() -> None:
    held_out = np.arange(400.0)
    truth = held_out + np.where(held_out < 200, 1.0, 40.0)
    widths = interval_widths(np.array([-5.0, 50.0, 350.0, 999.0]), held_out, truth)
    assert widths.tolist() == [2.0, 2.0, 80.0, 80.0]


def test_disagreement_is_the_mean_distance_from_production() -> None:
    production = np.array([[0.9, 0.1], [0.5, 0.5]])
    assert disagreement(production, [production, production[:, ::-1]]).round(3).tolist() == [0.4, 0.0]
    assert disagreement(np.array([1.0, 2.0]), [np.array([3.0, 2.0])]).tolist() == [2.0, 0.0]
