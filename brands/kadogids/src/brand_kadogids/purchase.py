"""Who orders from the catalogue."""

from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Take all fields, and add whether the record was ever changed since it was made."""
    return rows.assign(updated=rows["1st_update_days_ago"] > rows["last_update_days_ago"])


def build_estimator(kind: str = "forest", **params: Any) -> Any:
    """Return a forest or boosted trees."""
    models = {"forest": RandomForestClassifier, "boosting": HistGradientBoostingClassifier}
    return models[kind](random_state=0, **params)
