"""Secrets that infrastructure made, as files: `secrets/<brand>.<what>.env` below the home, each readable by its owner only.

A line is `BRANDHOUSE_SECRET_<BRAND>_<NAME>=VALUE`, as in the environment, which goes first. No quotes, no line breaks.
"""

import os
import re
import secrets
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from brandhouse_shared.errors import BrandhouseError

PREFIX = "BRANDHOUSE_SECRET_"
_LINE = re.compile(r"(BRANDHOUSE_SECRET_[A-Z0-9_]+)=(\S*)")


class SecretFileError(BrandhouseError):
    """A file of secrets can be read by others, or holds something else."""


def secret_file(home: Path, brand: str, what: str) -> Path:
    """Where the secrets of one kind of one brand lie."""
    return home / "secrets" / f"{brand}.{what}.env"


def write_secrets(home: Path, brand: str, what: str, values: Mapping[str, str]) -> None:
    """Write a brand's secrets of one kind; those that were there are replaced as a whole.

    Args:
        home: Of the settings.
        brand: Whose.
        what: What they open, such as `store`.
        values: By the name that stands behind the brand's prefix.
    """
    path = secret_file(home, brand, what)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{PREFIX}{brand.upper()}_{name}={value}\n" for name, value in values.items())
    draft.replace(path)


def read_secrets(home: Path, brand: str, what: str) -> dict[str, str]:
    """A brand's secrets of one kind, by the name behind the prefix; empty if there are none.

    Raises:
        SecretFileError: If others can read the file, or it holds something else.
    """
    path = secret_file(home, brand, what)
    prefix = f"{PREFIX}{brand.upper()}_"
    return {name.removeprefix(prefix): value for name, value in _read(path, prefix).items()} if path.is_file() else {}


def home_of(environment: Mapping[str, str]) -> Path:
    """The home, without reading settings: a command that only prints its help should not have to."""
    if named := environment.get("BRANDHOUSE_HOME"):
        return Path(named)
    start = Path(environment.get("BRANDHOUSE_ROOT") or Path.cwd())
    return next((folder / ".brandhouse" for folder in (start, *start.parents) if (folder / "brands").is_dir()), start / ".brandhouse")


def adopt_secrets(home: Path, environment: MutableMapping[str, str]) -> None:
    """Put all secrets that lie below a home into an environment, where it does not set them itself.

    Raises:
        SecretFileError: If a file can be read by others, or holds something else.
    """
    for path in sorted((home / "secrets").glob("*.*.env")):
        brand = path.name.partition(".")[0]
        for name, value in _read(path, f"{PREFIX}{brand.upper()}_").items():
            environment.setdefault(name, value)


def _read(path: Path, prefix: str) -> dict[str, str]:
    if path.stat().st_mode & 0o077:
        raise SecretFileError(f"{path} can be read by others; run `chmod 600` on it, and renew what is in it")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or not match[1].startswith(prefix):
            raise SecretFileError(f"{path}, line {number}: must be {prefix}NAME=VALUE; the line is not shown, it may hold a secret")
        found[match[1]] = match[2]
    return found
