"""The peer that most teams write by hand: FastAPI, a pydantic model, pandas and scikit-learn. `MODEL` names the joblib file."""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(os.environ["MODEL"])
app = FastAPI()


class Loan(BaseModel):
    """One row."""

    age: float | None
    income: float | None
    debt: float | None
    rate: float | None
    months: float | None
    score: float | None
    town: str
    job: str
    home: str
    channel: str


class Loans(BaseModel):
    """A request."""

    instances: list[Loan]


@app.post("/predict")
def predict(loans: Loans) -> dict[str, Any]:
    """Labels and probabilities of all rows."""
    rows = pd.DataFrame([loan.model_dump() for loan in loans.instances])
    shares = model.predict_proba(rows)
    return {"predictions": model.classes_[shares.argmax(axis=1)].tolist(), "probabilities": shares.tolist()}
