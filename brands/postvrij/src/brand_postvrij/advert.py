"""Whether an advert may be shown, by the words of the advert and of the page it leads to."""

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

WORD = "[a-zA-Z0-9_]+"
"""Plain letters: the default pattern of scikit-learn compiles to ONNX without a word and is wrong there."""


def build_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Take the words in lower case."""
    return pd.DataFrame({"words": rows["text"].str.lower()})


def build_estimator(C: float = 10.0, max_features: int = 4_000) -> Pipeline:
    """Return a logistic regression on word weights; `C` is the inverse strength of its regularisation."""
    words = TfidfVectorizer(lowercase=False, token_pattern=WORD, max_features=max_features)
    return make_pipeline(make_column_transformer((words, "words")), LogisticRegression(C=C, max_iter=500))
