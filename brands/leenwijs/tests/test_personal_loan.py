from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

personal_loan = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_leenwijs.personal_loan")


def customers() -> pd.DataFrame:
    """Invented customers; every second one has a high income."""
    return pd.DataFrame({"Income": [200.0, 50.0] * 50, "CCAvg": [5.0, 1.0] * 50, "Education": ["3", "1"] * 50, "Age": 40.0})


def test_spending_is_told_as_a_share_of_a_year() -> None:
    assert personal_loan.build_features(customers())["spent_share"].head(2).tolist() == [0.3, 0.24], "twelve months of it"


def test_education_is_a_number() -> None:
    assert personal_loan.build_features(customers())["Education"].head(2).tolist() == [3.0, 1.0], "an order, not names"


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_every_candidate_learns_from_income(kind: str) -> None:
    features = personal_loan.build_features(customers())
    estimator = personal_loan.build_estimator(kind=kind).fit(features, [1, 0] * 50)

    high, low = estimator.predict_proba(features.head(2))[:, 1]
    assert high > 0.5 > low, "here everyone with a high income accepts"
