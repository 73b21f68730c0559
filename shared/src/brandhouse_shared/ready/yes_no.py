"""Yes or no, with a probability to be trusted; also where yes is rare.

Rare answers need no re-weighting to be ranked or to be given a right probability: it is the threshold that has to be
low. `balanced` weighs both answers alike while fitting, for where the ranking gains by it, and calibrates afterwards,
because weighted probabilities are wrong by themselves.
"""

from collections.abc import Sequence
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind

KINDS = {"linear": LogisticRegression, "forest": RandomForestClassifier, "boosting": HistGradientBoostingClassifier}
DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {"max_iter": 2_000},
    "forest": {"n_estimators": 200, "min_samples_leaf": 3},
    "boosting": {"max_iter": 150, "learning_rate": 0.06},
}
CALIBRATION_FOLDS = 5


def build_estimator(
    kind: str = "boosting",
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    texts: Sequence[str] = (),
    many_valued: Sequence[str] = (),
    max_categories: int = MAX_CATEGORIES,
    words: int | None = None,
    balanced: bool = False,
    calibrated: bool = False,
    **params: Any,
) -> Pipeline:
    """Build a classifier of two classes.

    `kind` is `linear` (logistic regression), `forest` or `boosting`; `params` are those of the scikit-learn estimator behind
    it. `balanced` weighs both classes alike and calibrates the probabilities; `calibrated` calibrates without weighing. Either
    fits the estimator six times instead of once, and needs five rows of each class. All other arguments are those of
    `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    weights = {"class_weight": "balanced"} if balanced else {}
    model = build_of_kind("yes_no", kind, KINDS, DEFAULTS, {**weights, **params})
    if balanced or calibrated:
        model = CalibratedClassifierCV(model, method="sigmoid", cv=CALIBRATION_FOLDS, ensemble=False)
    encoder = build_encoder(
        kind,
        numbers=numbers,
        categories=categories,
        texts=texts,
        many_valued=many_valued,
        max_categories=max_categories,
        words=words,
        of_numbers=False,
    )
    return make_pipeline(encoder, model)
