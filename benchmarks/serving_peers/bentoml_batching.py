"""BentoML as its documentation shows it, with adaptive batching. `MODEL` names the joblib file."""

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

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=1_000)
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of all rows."""
        return self.model.predict_proba(rows)
