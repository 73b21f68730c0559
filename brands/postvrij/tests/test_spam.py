from pathlib import Path

import pandas as pd
import pytest

from brandhouse_shared.brands import load_brand_module, read_brand

spam = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_postvrij.spam")


def mails() -> pd.DataFrame:
    """Invented mails: loud and quiet ones."""
    return pd.DataFrame({"C!": [2.0, 0.0] * 50, "C$": [1.0, 0.0] * 50, "C#": 0.0, "free": [3.0, 0.0] * 50, "will ": 0.5})


def test_all_marks_of_shouting_are_added() -> None:
    assert spam.build_features(mails())["shouting"].head(2).tolist() == [3.0, 0.0], "exclamation, dollar and hash"


@pytest.mark.parametrize("kind", ["boosting", "forest"])
def test_every_candidate_learns_from_shouting(kind: str) -> None:
    features = spam.build_features(mails())
    estimator = spam.build_estimator(kind=kind).fit(features, [1, 0] * 50)

    loud, quiet = estimator.predict_proba(features.head(2))[:, 1]
    assert loud > 0.5 > quiet, "here all loud mails are spam"
