"""A brand's name as clouds allow it: in names of buckets, roles and secrets, by those who make them and those who use them."""

import hashlib
import re

MAX_SLUG = 24
"""A bucket has 63 characters: house 10, environment 10, account 12 and three hyphens are taken."""


def slug_of(brand: str) -> str:
    """`leen_wijs` as `leen-wijs`; a long one is shortened and ends in a digest."""
    return fit(re.sub("_+", "-", brand).strip("-"), MAX_SLUG)


def fit(text: str, limit: int) -> str:
    """Shorten a name to `limit` characters; its end becomes a digest of the whole, so that two names stay two."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 7].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
