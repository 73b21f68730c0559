"""The pipelines that every peer serves, and the invented loans they are fitted to: 6 numeric and 4 categorical columns.

`python pipelines.py FOLDER` fits them in the caller's environment and saves each as FOLDER/<name>.joblib.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["age", "income", "debt", "rate", "months", "score"]
CATEGORIES = {"town": ["Delft", "Gouda", "Zwolle"], "job": ["nurse", "baker", "clerk"], "home": ["own", "rent"], "channel": ["web", "shop"]}
TARGET = "repaid"
ESTIMATORS = ("linear", "forest", "boosting")


def build_table(rows: int = 4_000, seed: int = 0) -> pd.DataFrame:
    """Loans: columns by name, the target `yes` or `no`, one cell in fifty missing."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame({name: random.normal(10 * (place + 1), 5, rows).round(3) for place, name in enumerate(NUMBERS)})
    for name, values in CATEGORIES.items():
        table[name] = random.choice(values, rows)
    signal = (table["income"] - table["debt"]) / 5 + 2 * (table["town"] == "Delft") - (table["home"] == "rent") + random.normal(0, 1, rows)
    table = table.mask(random.random(table.shape) < 0.02)
    return table.assign(**{TARGET: np.where(signal > signal.median(), "yes", "no")})


def build_pipeline(kind: str) -> Pipeline:
    """Impute, scale and one-hot encode, then the estimator."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(
        SimpleImputer(strategy="constant", missing_values="", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("words", words, list(CATEGORIES))])
    estimators = {
        "linear": LogisticRegression(max_iter=1_000),
        "forest": RandomForestClassifier(n_estimators=100, max_depth=8, random_state=0, n_jobs=1),
        "boosting": HistGradientBoostingClassifier(random_state=0),
    }
    return make_pipeline(columns, estimators[kind])


def fit(kind: str) -> Pipeline:
    """Fit one pipeline to the table."""
    table = build_table()
    table[list(CATEGORIES)] = table[list(CATEGORIES)].fillna("")
    return build_pipeline(kind).fit(table.drop(columns=TARGET), table[TARGET])


if __name__ == "__main__":
    for name in ESTIMATORS:
        joblib.dump(fit(name), Path(sys.argv[1]) / f"{name}.joblib")
