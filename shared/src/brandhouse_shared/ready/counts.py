"""Counts: how often something happens. Whole numbers from zero, whose spread grows with their size; answers are means."""

from collections.abc import Sequence
from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import Pipeline, make_pipeline

from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind

KINDS = {"linear": PoissonRegressor, "forest": RandomForestRegressor, "boosting": HistGradientBoostingRegressor}
DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {"alpha": 0.01, "max_iter": 1_000},
    # A leaf of few rows without an event would answer zero, which the Poisson loss cannot forgive.
    "forest": {"n_estimators": 100, "min_samples_leaf": 10, "criterion": "poisson"},
    "boosting": {"max_iter": 150, "loss": "poisson"},
}


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
    """Build a regression with the Poisson loss; its answers are never negative.

    `kind` is `linear` (Poisson regression), `forest` or `boosting`; `params` are those of the scikit-learn estimator behind it.
    All other arguments are those of `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    model = build_of_kind("counts", kind, KINDS, DEFAULTS, params)
    encoder = build_encoder(
        kind, numbers=numbers, categories=categories, texts=texts, many_valued=many_valued, max_categories=max_categories, words=words
    )
    return make_pipeline(encoder, model)
