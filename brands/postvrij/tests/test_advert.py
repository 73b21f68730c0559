from pathlib import Path

import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

advert = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_postvrij.advert")


def test_capitals_make_no_other_word() -> None:
    rows = pd.DataFrame({"text": ["ad-TRACTOR Farm", "ad-tractor farm"]})

    assert advert.build_features(rows)["words"].nunique() == 1, "words are compared in lower case"


def test_words_that_were_accepted_are_accepted_again() -> None:
    rows = pd.DataFrame({"text": ["ad-tractor ad-field plough", "ad-pill ad-cure miracle"] * 20})
    features = advert.build_features(rows)

    chances = advert.build_estimator().fit(features, [1, 0] * 20).predict_proba(features.head(2))[:, 1]
    assert chances[0] > 0.5 > chances[1], "farming is fit to show here, pills are not"
