from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

competitive = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_veilinghoek.competitive")


def offers() -> pd.DataFrame:
    """Invented offers: cheap and dear opens."""
    texts = {"Category": "Books", "currency": "US", "endDay": "Mon"}
    return pd.DataFrame({"OpenPrice": [0.5, 300.0] * 50, "sellerRating": 100.0, "Duration": 7.0, **texts})


def test_the_close_price_is_not_used() -> None:
    assert "ClosePrice" not in competitive.build_features(offers().assign(ClosePrice=9.0)), "it is known when all bids are in"


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_every_candidate_learns_that_a_low_open_draws_bidders(kind: str) -> None:
    features = competitive.build_features(offers())
    estimator = competitive.build_estimator(kind=kind).fit(features, [1, 0] * 50)

    cheap, dear = estimator.predict_proba(features.head(2))[:, 1]
    assert cheap > 0.5 > dear, "here only cheap opens get a second bidder"
