"""What an erasure has set out to do and how far it is, on disk, so that a kill at any instruction can be made up for.

One file an erasure, in the brand's own folder of the home, named by a keyed digest of the person: whoever repeats the same
command finds it again, and nobody can read from it whom it is about.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from brandhouse_flows.content import write_whole
from brandhouse_flows.erased_hashes import FOLDER
from brandhouse_serving.prediction_log import load_hash_key

INTENT = ".intent.json"
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


@dataclass
class Intent:
    """One erasure under way.

    Attributes:
        digest: Of the person, keyed with the brand's own secret.
        begun_at: ISO 8601, UTC.
        counts: What the first search found.
        replacements: Of each dataset, the hash of each erased snapshot and of what replaces it; None: no row is left of it.
        versions: Versions that learned from the person's rows, such as `casa/price/v3`.
        unreached: What the first search could not look at or nobody here can change, each `what` and `why`.
    """

    digest: str
    begun_at: str
    counts: dict[str, int] = field(default_factory=dict)
    replacements: dict[str, dict[str, str | None]] = field(default_factory=dict)
    versions: list[str] = field(default_factory=list)
    unreached: list[dict[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How people and the ledger call the person."""
        return f"subject {self.digest[:16]}"


def digest_of(home: Path, brand: str, subject: str, predictions: frozenset[str]) -> str:
    """Name a person so that only who holds the brand's secret and knows the person can make the name again."""
    text = json.dumps([subject, sorted(predictions)]).encode()
    return hmac.digest(load_hash_key(home, brand), b"erasure\0" + text, "sha256").hex()


def erasure_folder(home: Path, brand: str) -> Path:
    """Where a brand's intents and certificates lie."""
    return home / FOLDER / brand


def find_intent(home: Path, brand: str, digest: str) -> Intent | None:
    """Return the erasure of a person that was begun and has not ended; None if there is none."""
    try:
        return Intent(**json.loads(_path(home, brand, digest).read_bytes()))
    except FileNotFoundError:
        return None


def begun_intents(home: Path, brand: str) -> list[Intent]:
    """All erasures of a brand that were begun and have not ended."""
    return [Intent(**json.loads(path.read_bytes())) for path in sorted(erasure_folder(home, brand).glob(f"*{INTENT}"))]


def save_intent(home: Path, brand: str, intent: Intent) -> None:
    """Write down how far it is; it is on the disk when this returns."""
    folder = erasure_folder(home, brand)
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    write_whole(_path(home, brand, intent.digest), json.dumps(asdict(intent)))


def end_intent(home: Path, brand: str, intent: Intent) -> None:
    """Forget that it was under way."""
    _path(home, brand, intent.digest).unlink(missing_ok=True)


def begin(digest: str, now: datetime, counts: Mapping[str, int]) -> Intent:
    """A new one."""
    return Intent(digest, now.isoformat(), dict(counts))


def _path(home: Path, brand: str, digest: str) -> Path:
    return erasure_folder(home, brand) / f"{digest[:32]}{INTENT}"
