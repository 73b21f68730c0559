"""Where a gateway and the brands' own processes meet: a private folder per brand, with a socket and a few small files.

Whoever asks (each of the gateway's processes) leaves a wish; the one supervisor reads it. Files, because both sides may
be other processes, either may end at any moment, and nothing else is needed.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOUCH_SECONDS = 30.0
"""How often a wish is renewed by who still asks, at most."""

_SILOS = "silos"
_WISH = "wish"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the gateway wants of one brand's process.

    Attributes:
        memory_mib: What the process may write to.
        asked_at: When the brand was last asked something, seconds since 1970, to `TOUCH_SECONDS`.
    """

    brand: str
    memory_mib: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class SiloPlace:
    """One brand's folder."""

    folder: Path

    @property
    def socket(self) -> Path:
        """Where the process listens; appears when it does."""
        return self.folder / "s"

    @property
    def failure(self) -> Path:
        """Exists once the process has ended by itself: then nobody waits for its start any more."""
        return self.folder / "failed"

    @property
    def stuck(self) -> Path:
        """Exists when the process is to be ended by force because it answers no more."""
        return self.folder / "stuck"

    @property
    def wish(self) -> Path:
        """Exists while the process is wanted."""
        return self.folder / _WISH

    def write_wish(self, brand: str, memory_mib: int) -> None:
        """Want the process, or renew the wish."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / f"{_WISH}.{os.getpid()}"
        draft.write_text(json.dumps({"brand": brand, "memory_mib": memory_mib}))
        draft.rename(self.wish)

    def renew_wish(self) -> None:
        """Say that the brand is still asked."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.wish)

    def read_wish(self) -> Wish | None:
        """Return what is wanted; None if nothing is."""
        try:
            return Wish(**json.loads(self.wish.read_bytes()), asked_at=self.wish.stat().st_mtime)
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Forget everything but the folder, as before the first wish."""
        for path in (self.wish, self.socket, self.failure, self.stuck):
            path.unlink(missing_ok=True)


def place_of(base: Path, brand: str) -> SiloPlace:
    """The brand's place. Its name is hashed: the path of a socket has at most 107 bytes."""
    return SiloPlace(base / _SILOS / hashlib.sha256(brand.encode()).hexdigest()[:16])


def wished_places(base: Path) -> Iterator[tuple[SiloPlace, Wish]]:
    """All brands whose processes are wanted."""
    for path in sorted((base / _SILOS).glob(f"*/{_WISH}")):
        place = SiloPlace(path.parent)
        wish = place.read_wish()
        if wish is not None:
            yield place, wish


def idle_seconds(wish: Wish) -> float:
    """For how long the brand has not been asked."""
    return time.time() - wish.asked_at
