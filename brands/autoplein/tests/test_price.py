from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

price = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_autoplein.price")

EQUIPMENT = ["HP", "Weight", "Doors", "Gears", "Quarterly_Tax", "Met_Color", "Automatic", "ABS", "Airco"]


def cars(count: int) -> pd.DataFrame:
    """Invented cars; the older, the farther driven."""
    age = np.arange(count, dtype=float) % 80
    texts = {"Fuel_Type": ["Petrol"] * count, "Color": ["Red", "Grey"] * (count // 2)}
    return pd.DataFrame({"Age_08_04": age, "KM": age * 1_000, "CC": 1_600.0, **dict.fromkeys(EQUIPMENT, 1.0), **texts})


def test_a_mistyped_engine_is_bounded() -> None:
    rows = cars(2).assign(CC=[1_600.0, 16_000.0])

    assert price.build_features(rows)["CC"].tolist() == [1_600, 3_000], "no Corolla has sixteen litres"


def test_a_new_car_has_a_finite_use_per_month() -> None:
    assert np.isfinite(price.build_features(cars(2))["km_per_month"]).all(), "an age of 0 must not divide by zero"


@pytest.mark.parametrize("kind", ["boosting", "forest", "linear"])
def test_every_candidate_learns_that_age_costs_money(kind: str) -> None:
    features = price.build_features(cars(200))
    estimator = price.build_estimator(kind=kind).fit(features, 20_000 - 200 * features["Age_08_04"])

    young, old = estimator.predict(features.iloc[[5, 75]])
    assert young > old, "an older car of the same kind is worth less"
