from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

hourly_wage = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_loonkompas.hourly_wage")


def profiles() -> pd.DataFrame:
    """Invented profiles: long and short schooling; membership known of every second one only."""
    return pd.DataFrame({"age": 40.0, "educ": [17.0, 8.0] * 50, "exper": 15.0, "hours": [40.0, 20.0] * 50, "union": [1.0, None] * 50})


def test_an_unknown_membership_is_neither_yes_nor_no() -> None:
    assert hourly_wage.build_features(profiles())["union"].head(2).tolist() == [1.0, 0.5], "half-way between the two"


def test_part_time_is_under_thirty_five_hours() -> None:
    assert hourly_wage.build_features(profiles())["part_time"].head(2).tolist() == [False, True], "40 hours are full-time"


@pytest.mark.parametrize("kind", ["boosting", "forest"])
def test_every_candidate_learns_that_schooling_pays(kind: str) -> None:
    features = hourly_wage.build_features(profiles())
    estimator = hourly_wage.build_estimator(kind=kind).fit(features, 2 + features["educ"])

    long, short = estimator.predict(features.head(2))
    assert long > short, "more years of schooling, more an hour"
