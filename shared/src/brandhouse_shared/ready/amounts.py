"""Amounts: numbers that may lie anywhere, whose errors count alike at both ends."""

from collections.abc import Sequence
from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind

KINDS = {"linear": Ridge, "forest": RandomForestRegressor, "boosting": HistGradientBoostingRegressor}
DEFAULTS: dict[str, dict[str, Any]] = {"forest": {"n_estimators": 100, "min_samples_leaf": 2}, "boosting": {"max_iter": 200}}


def build_estimator(
    kind: str = "boosting",
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    texts: Sequence[str] = (),
    many_valued: Sequence[str] = (),
    max_categories: int = MAX_CATEGORIES,
    words: int | None = None,
    **params: Any,
) -> Pipeline:
    """Build a regression that minimises squared errors.

    `kind` is `linear` (ridge), `forest` or `boosting`; `params` are those of the scikit-learn estimator behind it. All other
    arguments are those of `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    model = build_of_kind("amounts", kind, KINDS, DEFAULTS, params)
    encoder = build_encoder(
        kind, numbers=numbers, categories=categories, texts=texts, many_valued=many_valued, max_categories=max_categories, words=words
    )
    return make_pipeline(encoder, model)
