"""How far each process of a gateway has followed the ledger, as files: for whoever wants to know when a stage change is in effect.

`<home>/followers/<worker>.json`, written when the process has taken a stage event over, and now and then as a sign of life. A process
that is killed leaves its file, which grows old.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_serving.router import Router

LOOK_SECONDS = 0.05
"""Between two looks at the routing table; a number is compared, nothing else."""

SIGN_SECONDS = 5.0
ALIVE_SECONDS = 20.0
"""Without a sign for so long a process does not run any more."""


@dataclass(frozen=True, slots=True)
class Following:
    """One process of a gateway.

    Attributes:
        worker: Its name, as in the files of trials.
        brands: That it serves; None: all.
        seq: Of the newest stage event that it has taken over.
        at: When it had, seconds since 1970.
    """

    worker: str
    brands: tuple[str, ...] | None
    seq: int
    at: float


class Follower:
    """Writes down how far this process is."""

    def __init__(self, home: Path, worker: str, brands: list[str] | None) -> None:
        self._path = home / "followers" / f"{worker}.json"
        self._document: dict[str, Any] = {"worker": worker, "brands": brands, "seq": -1, "at": 0.0}
        self._signed_at = 0.0

    async def follow(self, router: Router) -> None:
        """Write until cancelled. A full disk is no reason to stop answering."""
        while True:
            is_news = router.seq != self._document["seq"]
            if is_news:
                self._document |= {"seq": router.seq, "at": time.time()}
            if is_news or time.monotonic() - self._signed_at > SIGN_SECONDS:
                self._signed_at = time.monotonic()
                await asyncio.to_thread(self._write)
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Take the file away: the process ends in order."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".draft")
            draft.write_text(json.dumps(self._document))
            draft.replace(self._path)
        except OSError:
            self._signed_at = 0.0


def read_followers(home: Path, brand: str) -> list[Following]:
    """The processes that run now and serve a brand."""
    return [one for one in map(_read, sorted((home / "followers").glob("*.json"))) if one and (one.brands is None or brand in one.brands)]


def _read(path: Path) -> Following | None:
    try:
        if time.time() - path.stat().st_mtime > ALIVE_SECONDS:
            return None
        found = json.loads(path.read_text())
        brands = None if found["brands"] is None else tuple(found["brands"])
        return Following(str(found["worker"]), brands, int(found["seq"]), float(found["at"]))
    except (OSError, ValueError, KeyError, TypeError):  # it has just ended
        return None
