"""Whether a flight will leave late, as known the day before."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

CATEGORIES = ["CARRIER", "ORIGIN", "DEST", "DAY_WEEK"]


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn the planned departure, written as 1455 for 14:55, into hours of the day."""
    planned = rows["CRS_DEP_TIME"]
    return rows[[*CATEGORIES, "DISTANCE"]].assign(hour=planned // 100 + planned % 100 / 60)


def build_estimator(**params: Any) -> Pipeline:
    """Return a forest: evenings of some carriers and routes are late, which no straight line says."""
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        ColumnTransformer([("categories", categories, CATEGORIES)], remainder="passthrough"),
        RandomForestClassifier(random_state=0, **params),
    )
