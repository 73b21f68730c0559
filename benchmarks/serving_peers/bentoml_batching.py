"""BentoML with adaptive batching, as its documentation shows it. `MODEL` names the joblib file."""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(traffic={"timeout": 60})
class Loans:
    """Serves one pipeline."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api(batchable=True)
    def predict(self, rows: list[dict]) -> list[list[float]]:
        """Probabilities of all rows."""
        return self.model.predict_proba(pd.DataFrame(rows)).tolist()
