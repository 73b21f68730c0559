"""For how much a person on the list will order; zero for who orders nothing."""

from typing import Any

import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from brand_kadogids import purchase


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Use the same view of a person as the other model."""
    return purchase.build_features(rows)


def build_estimator(**params: Any) -> RandomForestRegressor:
    """Return a forest: spending is zero for most and steep for few."""
    return RandomForestRegressor(random_state=0, **params)
