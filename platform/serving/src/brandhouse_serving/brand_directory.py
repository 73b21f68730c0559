"""The brands that this gateway may serve, read from `brand.toml` and read again when a file changes."""

import logging
from collections.abc import Collection
from pathlib import Path

from brandhouse_shared.brands import Brand, read_brand
from brandhouse_shared.errors import BrandConfigError, UnknownBrandError

logger = logging.getLogger(__name__)


class BrandDirectory:
    """Finds a brand's declaration; a file that was broken by an edit leaves the last good one at work."""

    def __init__(self, brands_dir: Path, only: Collection[str] | None = None) -> None:
        """`only` names the brands to serve; None means all that have a folder."""
        self._brands_dir = brands_dir
        self._only = None if only is None else frozenset(only)
        self._read: dict[str, tuple[int, Brand | None]] = {}

    def find(self, name: str) -> Brand | None:
        """Return the brand as of its file now, or None if it has none or is not served here."""
        if self._only is not None and name not in self._only:
            return None
        try:
            stamp = (self._brands_dir / name / "brand.toml").stat().st_mtime_ns
        except OSError:
            return None
        before = self._read.get(name)
        if before is None or before[0] != stamp:
            self._read[name] = (stamp, self._read_again(name, before[1] if before else None))
        return self._read[name][1]

    def known(self, name: str) -> Brand | None:
        """Return the brand as it was last read, without a look at the disk; it is read if it never was."""
        if name in self._read:
            return self._read[name][1]
        return self.find(name)

    def reread(self, names: Collection[str]) -> bool:
        """Look at the files of these brands again. Return whether one of them has changed.

        A thousand looks take tens of milliseconds: this is called in a thread, `known` on the event loop.
        """
        before = {name: self._read.get(name) for name in names}
        for name in names:
            if self.find(name) is None:
                self._read.pop(name, None)
        return any(self._read.get(name) is not entry for name, entry in before.items())

    def check(self) -> None:
        """Refuse names of brands that do not exist.

        Raises:
            UnknownBrandError: Naming the first of them.
        """
        known = sorted(path.parent.name for path in self._brands_dir.glob("*/brand.toml"))
        for name in sorted(self._only or ()):
            if name not in known:
                raise UnknownBrandError(name, known)

    def _read_again(self, name: str, last_good: Brand | None) -> Brand | None:
        try:
            return read_brand(self._brands_dir / name)
        except BrandConfigError as error:
            logger.error("%s", error)
            return last_good
