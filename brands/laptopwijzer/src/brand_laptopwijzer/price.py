"""What a laptop of a configuration sells for."""

from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what buyers pay for together: memory with speed, and disk a gigabyte of memory."""
    return rows.assign(
        memory_speed=rows["RAM (GB)"] * rows["Processor Speeds (GHz)"],
        disk_per_memory=rows["HD Size (GB)"] / rows["RAM (GB)"],
    )


def build_estimator(kind: str = "boosting", **params: Any) -> Any:
    """Return boosted trees or a forest: prices step with the options, so a straight line misses them."""
    models = {"boosting": HistGradientBoostingRegressor, "forest": RandomForestRegressor}
    return models[kind](random_state=0, **params)
