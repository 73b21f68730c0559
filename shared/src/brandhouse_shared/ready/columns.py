"""Turn a feature frame into numbers by the kind of its columns, in forms that ONNX has too.

What an estimator receives (see `brandhouse_shared.features`): float32 numbers, missing is NaN; texts, missing is "".

| column | linear | forest | boosting |
|---|---|---|---|
| number | median for missing, then scaled | median for missing | as it is: boosting has a branch for missing |
| category | one column a value, at most `max_categories` of them; the rest share one | the same | the same |
| many-valued category | mean target of the value, cross-fitted | the same | the same |
| text | TF-IDF weights of the `words` most frequent words | which of them occur | the same |

"" is a value of a category like any other: missing may mean something. A value that training never saw counts as one
of the rare ones; where there are none, as no value at all. Unknown words count for nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from brandhouse_shared.errors import BrandhouseError, join_bounded

WORD = r"[^\x01-/:-@\[-\^`{-\x7f]+"
"""Letters of any alphabet, digits and underscores; said by what a word does not hold, because the compiled tokenizer
knows no classes such as \\w and would be wrong without a word."""

MAX_CATEGORIES = 40
WORDS_WEIGHTED = 2_000
WORDS_PRESENT = 200


class NoColumnsError(BrandhouseError):
    """An estimator was asked for without columns, or with one column in two roles."""


def build_encoder(
    kind: str,
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    texts: Sequence[str] = (),
    many_valued: Sequence[str] = (),
    max_categories: int = MAX_CATEGORIES,
    words: int | None = None,
    of_numbers: bool = True,
) -> ColumnTransformer:
    """Build the first step of a pipeline; columns of the frame that are named nowhere are left out.

    Args:
        kind: What follows: `linear` needs scaled numbers, `boosting` takes missing ones; any other is treated as `forest`.
        numbers: Columns of numbers and booleans.
        categories: Columns of a handful of values.
        texts: Columns of words, lower-cased in `build_features` (`texts.clean`).
        many_valued: Categories of hundreds of values, such as a postcode. Not for more than two classes.
        max_categories: Most columns made of one category, the shared one of its rare values included.
        of_numbers: Whether the target is a number rather than two classes, which `many_valued` has to know.
        words: Words kept of each text column; None is 2,000 for `linear` and 200 otherwise.

    Raises:
        NoColumnsError: If no column is named, or one of them twice.
    """
    _check_names([*numbers, *categories, *texts, *many_valued])
    parts: list[tuple[str, Any, Any]] = []
    if numbers:
        parts.append(("numbers", _number_encoder(kind), list(numbers)))
    if categories:
        parts.append(("categories", _category_encoder(max_categories), list(categories)))
    if many_valued:
        # Left to itself it takes whole numbers, such as prices without cents, for classes.
        mean = TargetEncoder(target_type="continuous" if of_numbers else "binary", cv=KFold(5, shuffle=True, random_state=0))
        parts.append(("many_valued", mean, list(many_valued)))
    parts += [(f"text_{place}", _text_encoder(kind, words), name) for place, name in enumerate(texts)]
    # Boosting takes no sparse matrix; a linear model on words alone would waste memory without one.
    return ColumnTransformer(parts, sparse_threshold=0.3 if kind == "linear" else 0.0)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise NoColumnsError("an estimator needs at least one column; name it in NUMBERS, CATEGORIES or TEXTS")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise NoColumnsError(f"columns named twice: {join_bounded(twice)}; each column has one role")


def _number_encoder(kind: str) -> Any:
    if kind == "boosting":
        return "passthrough"
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler()) if kind == "linear" else imputer


def _category_encoder(max_categories: int) -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=max_categories, sparse_output=False, dtype=np.float32)


def _text_encoder(kind: str, words: int | None) -> Any:
    if kind == "linear":
        return TfidfVectorizer(lowercase=False, token_pattern=WORD, max_features=words or WORDS_WEIGHTED, sublinear_tf=False)
    # A tree asks whether a word occurs; weights would only add thresholds that rounding can cross.
    return CountVectorizer(lowercase=False, token_pattern=WORD, max_features=words or WORDS_PRESENT, binary=True, dtype=np.float32)
