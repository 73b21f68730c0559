from pathlib import Path

import numpy as np
import pandas as pd

from brandhouse_shared.brands import load_brand_module, read_brand

birth_weight = load_brand_module(read_brand(Path(__file__).parents[1]), "brand_wiegwijzer.birth_weight")

UNKNOWN = float("nan")


def pregnancies() -> pd.DataFrame:
    """Invented pregnancies: no smoking, smoking, nothing said."""
    numbers = {"mage": [25.0, 35.0, 30.0] * 20, "meduc": 12.0, "monpre": 2.0, "fage": 33.0, "feduc": UNKNOWN, "drink": 0.0, "male": 1.0}
    return pd.DataFrame({"cigs": [0.0, 40.0, UNKNOWN] * 20, **numbers})


def test_nothing_said_about_smoking_is_its_own_answer() -> None:
    features = birth_weight.build_features(pregnancies()).head(3)

    assert features["smokes"].tolist() == [False, True, False], "unknown is not counted as smoking"
    assert features["cigs_unknown"].tolist() == [False, False, True], "but it is marked"


def test_age_counts_in_both_directions() -> None:
    assert birth_weight.build_features(pregnancies())["from_thirty"].head(3).tolist() == [5, 5, 0], "years from thirty"


def test_missing_answers_still_get_a_finite_weight() -> None:
    features = birth_weight.build_features(pregnancies()).assign(feduc=[12.0, UNKNOWN] * 30)
    estimator = birth_weight.build_estimator(alpha=1.0).fit(features, [3_500.0, 3_200.0, 3_400.0] * 20)

    assert np.isfinite(estimator.predict(features)).all(), "an unanswered question must not break the answer"
