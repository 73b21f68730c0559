"""What the processes of a gateway have seen of trials, as files: one per trial and process, replaced as a whole.

`<home>/trials/<brand>/<model>/v<N>/<since>-<worker>.json`. A process that is killed leaves what it last wrote; the files
of all processes, living or not, are put together by who reads them.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brandhouse_shared.names import ModelKey, VersionKey

logger = logging.getLogger(__name__)


class TrialFiles:
    """The files of all trials. What was read is kept and read again only when it has changed."""

    def __init__(self, home: Path) -> None:
        self._root = home / "trials"
        self._read: dict[Path, tuple[int, dict[str, Any] | None]] = {}

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the file of one process for one trial.

        Args:
            document: `Evidence.document`.
        """
        folder = self._root / document["brand"] / document["model"] / f"v{document['version']}"
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{document['since']}-{document['worker']}.draft"
        draft.write_text(json.dumps(document))
        # Not flushed to the disk: what a power cut takes is a second of counts, and a torn file is not read.
        draft.replace(folder / f"{document['since']}-{document['worker']}.json")

    def read(self, version: VersionKey, since: int | None = None) -> list[dict[str, Any]]:
        """Return what all processes wrote about a version; `since` names one trial of it."""
        folder = self._root / version.brand / version.model / f"v{version.number}"
        pattern = "*.json" if since is None else f"{since}-*.json"
        found = (self._read_one(path) for path in sorted(folder.glob(pattern)))
        return [document for document in found if document is not None]

    def versions(self, key: ModelKey) -> list[VersionKey]:
        """Versions of a model that have been on trial, newest first."""
        folder = self._root / key.brand / key.model
        numbers = [int(path.name[1:]) for path in folder.glob("v*") if path.name[1:].isdigit()]
        return [key.version(number) for number in sorted(numbers, reverse=True)]

    def _read_one(self, path: Path) -> dict[str, Any] | None:
        stamp = path.stat().st_mtime_ns
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, _load(path))
        return known[1]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read and counts for nothing: %s", path, type(error).__name__)
        return None
    return document if isinstance(document, dict) else None
