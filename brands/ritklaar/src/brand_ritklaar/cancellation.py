"""Whether a ride that was booked ahead will be cancelled."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

CATEGORIES = ["vehicle_model_id", "package_id", "travel_type_id"]
COORDINATES = ["from_lat", "from_long", "to_lat", "to_long"]
MISSING = -1.0


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Describe when the ride was booked, when it starts and how far it goes; -1 stands for an unknown place."""
    start, booked = rows["from_date"], rows["booking_created"]
    return rows[[*CATEGORIES, "online_booking", "mobile_site_booking"]].assign(
        start_hour=start.dt.hour,
        start_weekday=start.dt.weekday,
        start_month=start.dt.month,
        booked_hour=booked.dt.hour,
        hours_ahead=(start - booked).dt.total_seconds() / 3600,
        north=(rows["to_lat"] - rows["from_lat"]).fillna(0),
        east=(rows["to_long"] - rows["from_long"]).fillna(0),
        **{name: rows[name].fillna(MISSING) for name in COORDINATES},
    )


def build_estimator(kind: str = "boosting", **params: Any) -> Pipeline:
    """Return boosted trees or a logistic regression."""
    models = {"boosting": HistGradientBoostingClassifier, "linear": LogisticRegression}
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        ColumnTransformer([("categories", categories, CATEGORIES)], remainder="passthrough"), models[kind](random_state=0, **params)
    )
