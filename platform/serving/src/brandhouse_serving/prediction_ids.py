"""Ids of predictions: who answered and when can be read from them, which prediction it was cannot be guessed.

`autoplein.price.v7.0199c2f0a1b.Zk3rT0q8Yw1xLm2P`: brand, model, version, milliseconds since 1970 in hexadecimal (11
digits), 96 random bits. All characters may stand in a URL unescaped.
"""

import base64
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from brandhouse_shared.errors import InvalidNameError
from brandhouse_shared.names import VersionKey

RANDOM_BYTES = 12
"""96 bits: ids are also the only thing needed to hand in a label, within the brand's key."""

DRAWN_AT_ONCE = 256
"""For a single row, asking the system and encoding cost more than all else of an id."""

_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)  # two processes must never give the same id

ID_RULE = "an id as returned in prediction_ids, such as autoplein.price.v7.0199c2f0a1b.Zk3rT0q8Yw1xLm2P"
_ID = re.compile(r"([a-z][a-z0-9_]{1,39})\.([a-z][a-z0-9_]{1,39})\.v([1-9][0-9]{0,8})\.([0-9a-f]{11})\.([A-Za-z0-9_-]{16})")


@dataclass(frozen=True, slots=True)
class PredictionId:
    """The parts of one id.

    Attributes:
        version: What answered.
        at_ms: When, in milliseconds since 1970, UTC.
    """

    version: VersionKey
    at_ms: int

    @property
    def at(self) -> datetime:
        """When, UTC, to the millisecond."""
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)


def make(version: VersionKey, now: datetime) -> str:
    """Make one id. `now` is aware of its time zone."""
    return make_many(version, int(now.timestamp() * 1000), 1)[0]


def make_many(version: VersionKey, now_ms: int, count: int) -> list[str]:
    """Make `count` ids for one request, answered `now_ms` milliseconds after 1970."""
    prefix = f"{version.brand}.{version.model}.v{version.number}.{now_ms:011x}."
    if count == 1:
        return [prefix + _draw()]
    text = _digits(count)
    return [prefix + text[start : start + 16] for start in range(0, 16 * count, 16)]


def _draw() -> str:
    if not _drawn:
        text = _digits(DRAWN_AT_ONCE)
        _drawn.extend(text[start : start + 16] for start in range(0, 16 * DRAWN_AT_ONCE, 16))
    return _drawn.pop()


def _digits(count: int) -> str:
    # 12 bytes are exactly 16 digits of base64, so that one call encodes all.
    return base64.urlsafe_b64encode(os.urandom(RANDOM_BYTES * count)).decode()


def parse(text: str) -> PredictionId:
    """Read the parts of an id.

    Raises:
        InvalidNameError: If it is none.
    """
    match = _ID.fullmatch(text)
    if not match:
        raise InvalidNameError("prediction id", text, ID_RULE)
    brand, model, number, stamp, _ = match.groups()
    return PredictionId(VersionKey(brand, model, int(number)), int(stamp, 16))
