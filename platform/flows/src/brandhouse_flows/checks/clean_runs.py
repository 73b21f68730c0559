"""Remember that a brand's code ran without a problem, so that it is not run again until something changes.

Running it means importing the learning libraries, which takes most of a check. What is remembered is only a digest of
everything the outcome depends on: the brand's code, its declared inputs and candidates, the platform's code, and what is
installed.
"""

import hashlib
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from pathlib import Path

import brandhouse_shared
from brandhouse_shared.brands import Brand
from brandhouse_shared.settings import Settings

_SHARED = Path(str(brandhouse_shared.__file__)).parent
_CHECKS = Path(__file__).parent
"""A trial runs these two, and of the rest of the flows only what builds a candidate."""


def run_digest(brand: Brand) -> str:
    """SHA-256 of what decides how a trial of the brand's code ends."""
    digest = hashlib.sha256(_surroundings())
    for model in brand.config.models.values():
        digest.update(model.model_dump_json(include={"entrypoint", "inputs", "candidates"}).encode())
    for path in sorted(brand.source_dir.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(brand.folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _surroundings() -> bytes:
    """Digest of the platform's code and of what is installed; looked at once a process."""
    digest = hashlib.sha256(f"{sys.version}\0{Path(sysconfig.get_path('purelib')).stat().st_mtime_ns}\0".encode())
    for path in sorted([*_SHARED.rglob("*.py"), *_CHECKS.glob("*.py"), _CHECKS.with_name("search.py")]):
        state = path.stat()
        digest.update(f"{path}\0{state.st_mtime_ns}\0{state.st_size}\0".encode())
    return digest.digest()


def was_clean(settings: Settings, brand: Brand, digest: str) -> bool:
    """Whether a run with this digest found nothing."""
    try:
        return _file(settings, brand).read_text(encoding="ascii") == digest
    except (OSError, ValueError):
        return False


def remember_clean(settings: Settings, brand: Brand, digest: str) -> None:
    """Note that a run with this digest found nothing."""
    file = _file(settings, brand)
    with suppress(OSError):  # a home that cannot be written makes the next check slower, not wrong
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(digest, encoding="ascii")


def _file(settings: Settings, brand: Brand) -> Path:
    return settings.home / "cache" / "check" / brand.name
