from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

purchase = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_kadogids.purchase")


def people() -> pd.DataFrame:
    """Invented people: frequent and first-time readers."""
    return pd.DataFrame({"US": 1.0, "Freq": [5.0, 0.0] * 50, "last_update_days_ago": [10.0, 500.0] * 50, "1st_update_days_ago": 500.0})


def test_a_record_that_was_changed_since_is_marked() -> None:
    assert purchase.build_features(people())["updated"].head(2).tolist() == [True, False], "the first was changed ten days ago"


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_every_candidate_learns_that_frequent_readers_order(kind: str) -> None:
    features = purchase.build_features(people())
    estimator = purchase.build_estimator(kind=kind).fit(features, [1, 0] * 50)

    frequent, first_time = estimator.predict_proba(features.head(2))[:, 1]
    assert frequent > 0.5 > first_time, "here only they order"
