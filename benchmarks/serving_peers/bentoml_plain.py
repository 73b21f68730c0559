"""BentoML as its documentation shows it, without adaptive batching. `MODEL` names the joblib file."""

import os

import bentoml
import joblib
import numpy as np
import pandas as pd


@bentoml.service(traffic={"timeout": 60})
class Loans:
    """Serves one pipeline."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of all rows."""
        return self.model.predict_proba(rows)
