"""What a profile earns an hour."""

from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Fill an unknown membership with one half, and say whether the job is part-time."""
    return rows.assign(union=rows["union"].fillna(0.5), part_time=rows["hours"] < 35)


def build_estimator(kind: str = "boosting", **params: Any) -> Any:
    """Return boosted trees (with the absolute error as loss, the median profile) or a forest."""
    if kind == "forest":
        return RandomForestRegressor(random_state=0, **params)
    return HistGradientBoostingRegressor(loss="absolute_error", random_state=0, **params)
