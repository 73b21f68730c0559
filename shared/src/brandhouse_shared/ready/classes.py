"""One of several classes, by numbers and categories; for texts see `topics`."""

from collections.abc import Sequence
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind

KINDS = {"linear": LogisticRegression, "forest": RandomForestClassifier, "boosting": HistGradientBoostingClassifier}
DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {"max_iter": 2_000},
    "forest": {"n_estimators": 150, "min_samples_leaf": 2},
    "boosting": {"max_iter": 80},  # as many trees for every class
}


def build_estimator(
    kind: str = "boosting",
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    texts: Sequence[str] = (),
    max_categories: int = MAX_CATEGORIES,
    words: int | None = None,
    balanced: bool = False,
    **params: Any,
) -> Pipeline:
    """Build a classifier of any number of classes.

    `kind` is `linear` (logistic regression), `forest` or `boosting`; `params` are those of the scikit-learn estimator behind
    it. `balanced` weighs all classes alike, for `balanced_accuracy`: probabilities then lean to the rare ones.
    All other arguments are those of `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    weights = {"class_weight": "balanced"} if balanced else {}
    model = build_of_kind("classes", kind, KINDS, DEFAULTS, {**weights, **params})
    encoder = build_encoder(kind, numbers=numbers, categories=categories, texts=texts, max_categories=max_categories, words=words)
    return make_pipeline(encoder, model)
