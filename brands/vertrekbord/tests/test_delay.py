from pathlib import Path

import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

delay = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_vertrekbord.delay")


def flights() -> pd.DataFrame:
    """Invented flights: in the evening and in the morning."""
    texts = {"CARRIER": "US", "ORIGIN": "DCA", "DEST": "LGA", "DAY_WEEK": "5"}
    return pd.DataFrame({"CRS_DEP_TIME": [1930.0, 645.0] * 50, "DISTANCE": 214.0, **texts})


def test_the_clock_is_read_as_hours() -> None:
    assert delay.build_features(flights())["hour"].head(2).tolist() == [19.5, 6.75], "1930 is half past seven"


def test_the_real_departure_is_not_used() -> None:
    features = delay.build_features(flights().assign(DEP_TIME=2015.0))

    assert "DEP_TIME" not in features, "nobody knows it the day before"


def test_late_evenings_are_learned() -> None:
    features = delay.build_features(flights())
    estimator = delay.build_estimator(n_estimators=10).fit(features, [1, 0] * 50)

    evening, morning = estimator.predict_proba(features.head(2))[:, 1]
    assert evening > 0.5 > morning, "here all evening flights are late"
