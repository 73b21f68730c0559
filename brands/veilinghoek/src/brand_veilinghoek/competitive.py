"""Whether an auction will get at least two bidders."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

CATEGORIES = ["Category", "currency", "endDay"]


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Take the offer as the seller writes it; trees find the price steps by themselves."""
    return rows[[*CATEGORIES, "sellerRating", "Duration", "OpenPrice"]]


def build_estimator(kind: str = "forest", **params: Any) -> Pipeline:
    """Return a forest or boosted trees."""
    models = {"forest": RandomForestClassifier, "boosting": HistGradientBoostingClassifier}
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        ColumnTransformer([("categories", categories, CATEGORIES)], remainder="passthrough"), models[kind](random_state=0, **params)
    )
