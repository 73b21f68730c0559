from pathlib import Path

import numpy as np
import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

art_offer = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_boekenclub.art_offer")


def test_recency_and_money_are_on_logarithmic_scales() -> None:
    rows = pd.DataFrame({"M": [0.0, 99.0], "R": [0.0, 9.0], "FirstPurch": [0.0, 99.0], "ArtBks": [0.0, 1.0]})

    features = art_offer.build_features(rows)
    assert np.allclose(features["M"], [0, np.log(100)]) and np.isfinite(features).all(axis=None), "zero stays zero and finite"


def test_a_reader_of_art_books_is_ranked_first() -> None:
    members = pd.DataFrame({"M": 100.0, "R": 5.0, "FirstPurch": 20.0, "ArtBks": [3.0, 0.0] * 20})
    features = art_offer.build_features(members)

    chances = art_offer.build_estimator(C=1.0).fit(features, [1, 0] * 20).predict_proba(features.head(2))[:, 1]
    assert chances[0] > chances[1], "here only they order"
