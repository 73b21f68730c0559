"""Which desk a post belongs to, by its words."""

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

HEADER_END = "\n\n"
WORD = "[a-zA-Z0-9_]+"
"""Plain letters: the default pattern of scikit-learn compiles to ONNX without a word and is wrong there."""


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the words of the author: the header names the newsgroup, so it would answer the question itself."""
    return pd.DataFrame({"body": rows["text"].str.split(HEADER_END, n=1).str[-1].str.lower()})


def build_estimator(C: float = 10.0, max_features: int = 3_000) -> Pipeline:
    """Return a logistic regression on word weights; `C` is the inverse strength of its regularisation."""
    words = TfidfVectorizer(lowercase=False, token_pattern=WORD, stop_words=["rec", "autos", "sci"], max_features=max_features)
    return make_pipeline(make_column_transformer((words, "body")), LogisticRegression(C=C, max_iter=500))
