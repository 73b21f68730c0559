"""A request's key: which of a canary and production it belongs to, and whether it was counted before.

The same key always goes the same way while a trial lasts, and stays with the canary when its share grows. In evidence a
key counts once: its requests all go one way, so that they say no more than one of them about which way is worse.
"""

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from brandhouse_shared.names import VersionKey

HASH_BYTES = 8
HASHES = 1 << (8 * HASH_BYTES)

BITS = 1 << 16
"""Places for keys; two keys in a hundred share one when 1,300 are known."""

FULL = BITS // 2
"""So many keys, and they become a mere count: a place would too often be taken by another one."""


class KeyHasher:
    """Hashes keys, otherwise for each version: who is with one canary is not more likely to be with the next."""

    def __init__(self, version: VersionKey) -> None:
        self._empty = blake2b(digest_size=HASH_BYTES, key=blake2b(str(version).encode(), digest_size=16).digest())

    def hash(self, key: bytes) -> int:
        """Return a number from 0 to `HASHES - 1`, the same in every process and release."""
        hasher = self._empty.copy()
        hasher.update(key)
        return int.from_bytes(hasher.digest(), "big")


def bound_of(share: float) -> int:
    """Return below which hash a key belongs to a canary of this share."""
    return round(share * HASHES)


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Distinct keys by where their requests went."""

    canary: int
    production: int


class KeySet:
    """Keys of the canary's and of production's requests to which something happened; a fixed size, and unions can be counted.

    A place that keys of both sides take counts for production: too few events of a canary are the safe side.
    """

    def __init__(self) -> None:
        self._canary, self._production = bytearray(BITS // 8), bytearray(BITS // 8)
        self._known = 0
        self._closed_canary = self._closed_production = 0

    def add(self, key: int, *, is_canary: bool) -> None:
        """Add a hashed key; one that is known changes nothing."""
        places = self._canary if is_canary else self._production
        index, bit = (key % BITS) >> 3, 1 << (key & 7)
        if places[index] & bit:
            return
        places[index] |= bit
        self._known += 1
        if self._known >= FULL:
            self._close()

    def document(self) -> list[object]:
        """The set as plain values, for `count_keys`."""
        return [_pack(self._canary), _pack(self._production), self._closed_canary, self._closed_production]

    def _close(self) -> None:
        counts = count_keys([self.document()])
        self._canary, self._production = bytearray(BITS // 8), bytearray(BITS // 8)
        self._known = 0
        self._closed_canary, self._closed_production = counts.canary, counts.production


def count_keys(documents: Iterable[Sequence[object]]) -> KeyCounts:
    """Count the keys of the union of some sets; what is in several of them counts once."""
    canary = production = closed_canary = closed_production = 0
    for own_canary, own_production, own_closed_canary, own_closed_production in documents:
        canary |= _unpack(own_canary)
        production |= _unpack(own_production)
        closed_canary += int(str(own_closed_canary))
        closed_production += int(str(own_closed_production))
    return KeyCounts((canary & ~production).bit_count() + closed_canary, production.bit_count() + closed_production)


class SeenKeys:
    """Which of one stream of keys came before, with a fixed size; when it is full it begins anew."""

    def __init__(self, bits: int = 1 << 18) -> None:
        self._bits = bits
        self._places = bytearray(bits // 8)
        self._known = 0

    def is_new(self, key: int) -> bool:
        """Say whether a hashed key is new, and know it from now on. Now and then a new one is taken for known."""
        index, bit = (key % self._bits) >> 3, 1 << (key & 7)
        if self._places[index] & bit:
            return False
        if self._known >= self._bits // 2:
            self._places, self._known = bytearray(self._bits // 8), 0
        self._places[index] |= bit
        self._known += 1
        return True


def _pack(places: bytearray) -> str:
    return base64.b64encode(zlib.compress(bytes(places), 1)).decode()


def _unpack(text: object) -> int:
    return int.from_bytes(zlib.decompress(base64.b64decode(str(text))), "big")
