"""The names of brands, models and versions, and the keys made of them.

Every path, cache entry, metric label, log line and run name is built from these keys, in this order.
"""

import keyword
import re
from dataclasses import dataclass
from typing import Self

from brandhouse_shared.errors import InvalidNameError

NAME_PATTERN = r"^[a-z][a-z0-9_]{1,39}$"
NAME_RULE = "2 to 40 lower-case letters, digits and underscores, starting with a letter, and no Python keyword"
_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(r"^v([1-9][0-9]{0,8})$")


def is_name(value: str) -> bool:
    """Whether `value` may name a brand or a model (it becomes part of a Python module name)."""
    return bool(_NAME.fullmatch(value)) and not keyword.iskeyword(value)


def check_name(kind: str, value: str) -> str:
    """Return `value` unchanged, or raise `InvalidNameError`."""
    if not is_name(value):
        raise InvalidNameError(kind, value, NAME_RULE)
    return value


@dataclass(frozen=True, order=True, slots=True)
class ModelKey:
    """One model of one brand, `autoplein/price`."""

    brand: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `brand/model`.

        Raises:
            InvalidNameError: If it is not two names joined by one slash.
        """
        brand, slash, model = text.partition("/")
        if not slash:
            raise InvalidNameError("model key", text, "BRAND/MODEL, such as autoplein/price")
        return cls(check_name("brand", brand), check_name("model", model))

    @property
    def dotted(self) -> str:
        """`autoplein.price`, for protocols and stores that forbid slashes."""
        return f"{self.brand}.{self.model}"

    def version(self, number: int) -> "VersionKey":
        """The key of one version of this model."""
        return VersionKey(self.brand, self.model, number)

    def __str__(self) -> str:
        return f"{self.brand}/{self.model}"


@dataclass(frozen=True, order=True, slots=True)
class VersionKey:
    """One immutable fitted artifact, `autoplein/price/v7`."""

    brand: str
    model: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `brand/model/v7`.

        Raises:
            InvalidNameError: If it is not of that form.
        """
        head, _, tail = text.rpartition("/")
        match = _VERSION.fullmatch(tail)
        if not match:
            raise InvalidNameError("version key", text, "BRAND/MODEL/vNUMBER, such as autoplein/price/v7")
        key = ModelKey.parse(head)
        return cls(key.brand, key.model, int(match.group(1)))

    @property
    def model_key(self) -> ModelKey:
        """The model this is a version of."""
        return ModelKey(self.brand, self.model)

    def __str__(self) -> str:
        return f"{self.brand}/{self.model}/v{self.number}"


def parse_version(text: str) -> int:
    """Read `v7` or `7` as a version number.

    Raises:
        InvalidNameError: If it is neither.
    """
    match = _VERSION.fullmatch(text if text.startswith("v") else f"v{text}")
    if not match:
        raise InvalidNameError("version", text, "v1, v2, ...")
    return int(match.group(1))
