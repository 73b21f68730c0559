"""Which bytes of a brand were erased at a person's request and must not come in again, although the source may still hold them.

One hash a line, in the brand's own folder of the home; appended to, never changed.
"""

import os
from pathlib import Path

from brandhouse_flows.content import disk_full_named
from brandhouse_shared.errors import DatasetError

FOLDER = "erasures"


class ErasedBytesError(DatasetError):
    """Bytes came in that were erased."""

    def __init__(self, subject: str, hash_md5: str) -> None:
        super().__init__(
            f"{subject}: the source still holds {hash_md5}, which was erased at a person's request (docs/how-to/forget.md); "
            "take the person's rows out at the source"
        )


def read_erased(home: Path, brand: str) -> frozenset[str]:
    """The hashes of a brand's erased snapshots."""
    try:
        return frozenset(_path(home, brand).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()


def add_erased(home: Path, brand: str, hash_md5: str) -> None:
    """Note that a snapshot was erased; once is enough."""
    if hash_md5 in read_erased(home, brand):
        return
    path = _path(home, brand)
    with disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a", encoding="ascii") as lines:
            lines.write(f"\n{hash_md5}\n")  # the first line's end closes what a kill may have torn
            lines.flush()
            os.fsync(lines.fileno())


def _path(home: Path, brand: str) -> Path:
    return home / FOLDER / brand / "hashes.txt"
