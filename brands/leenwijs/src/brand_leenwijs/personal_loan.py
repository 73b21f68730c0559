"""Who would take up the offer of a personal loan."""

from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what is spent of the income; education is an order (1 to 3), so it stays a number."""
    return rows.assign(
        Education=rows["Education"].map({"1": 1.0, "2": 2.0, "3": 3.0}),
        spent_share=rows["CCAvg"] * 12 / rows["Income"],
    )


def build_estimator(kind: str = "forest", **params: Any) -> Any:
    """Return a forest or boosted trees."""
    models = {"forest": RandomForestClassifier, "boosting": HistGradientBoostingClassifier}
    return models[kind](random_state=0, **params)
