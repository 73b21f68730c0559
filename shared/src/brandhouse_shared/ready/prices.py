"""Prices and other amounts above zero with a long tail: an error counts by its share of the price.

The logarithm of the price is learned. An answer is therefore the typical price (near the median), not the mean: right
for "what is this worth", too low when answers are added up; for totals take `amounts`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline

from brandhouse_shared.ready.amounts import DEFAULTS, KINDS
from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind


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
) -> TransformedTargetRegressor:
    """Build a regression on log(1 + price); prices to learn from may be zero, not negative.

    Far outside what training saw, the linear kind may answer a little below zero, never below -1.

    `kind` is `linear` (ridge), `forest` or `boosting`; `params` are those of the scikit-learn estimator behind it. All other
    arguments are those of `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    model = build_of_kind("prices", kind, KINDS, DEFAULTS, params)
    encoder = build_encoder(
        kind, numbers=numbers, categories=categories, texts=texts, many_valued=many_valued, max_categories=max_categories, words=words
    )
    # check_inverse would compare the two functions on the targets of a sample, and warn of rounding
    return TransformedTargetRegressor(make_pipeline(encoder, model), func=np.log1p, inverse_func=np.expm1, check_inverse=False)
