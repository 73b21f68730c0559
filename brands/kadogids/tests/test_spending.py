from pathlib import Path

import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

spending = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_kadogids.spending")


def test_frequent_readers_spend_more() -> None:
    people = pd.DataFrame({"Freq": [5.0, 0.0] * 50, "last_update_days_ago": 10.0, "1st_update_days_ago": 500.0})
    features = spending.build_features(people)

    frequent, first_time = spending.build_estimator(n_estimators=10).fit(features, [200.0, 0.0] * 50).predict(features.head(2))
    assert frequent > first_time >= 0, "and nobody less than nothing"
