"""What a text is about: two classes or more, decided by words first; numbers and categories may help."""

from collections.abc import Sequence
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from brandhouse_shared.ready.columns import MAX_CATEGORIES, build_encoder
from brandhouse_shared.ready.kinds import build_of_kind

KINDS = {"linear": LogisticRegression, "boosting": HistGradientBoostingClassifier}
"""No forest: it looks at a few words a split, and most words are not in a text."""

DEFAULTS: dict[str, dict[str, Any]] = {"linear": {"C": 10.0, "max_iter": 2_000}, "boosting": {"max_iter": 100}}
WORDS = {"linear": 4_000, "boosting": 400}


def build_estimator(
    kind: str = "linear",
    *,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    categories: Sequence[str] = (),
    max_categories: int = MAX_CATEGORIES,
    words: int | None = None,
    balanced: bool = False,
    **params: Any,
) -> Pipeline:
    """Build a classifier of texts.

    `kind` is `linear` (logistic regression on TF-IDF weights) or `boosting` (trees on which words occur); `params` are those
    of the scikit-learn estimator behind it. `words` is how many of each text column are kept, the most frequent ones: None is
    4,000 for `linear`, 400 for `boosting`. `balanced` weighs all classes alike. All other arguments are those of
    `columns.build_encoder`.

    Raises:
        UnknownKindError, UnknownParameterError, NoColumnsError: If asked for what there is not.
    """
    weights = {"class_weight": "balanced"} if balanced else {}
    model = build_of_kind("topics", kind, KINDS, DEFAULTS, {**weights, **params})
    encoder = build_encoder(
        kind, numbers=numbers, categories=categories, texts=texts, max_categories=max_categories, words=words or WORDS[kind]
    )
    return make_pipeline(encoder, model)
