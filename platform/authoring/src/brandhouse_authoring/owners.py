"""Who must approve a change: `.github/CODEOWNERS`, generated from the owners that brands declare.

A brand's folder belongs to its owner alone; everything else to the platform team, which the workspace's `pyproject.toml`
names as `platform_owner` under `[tool.brandhouse]`.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from brandhouse_flows.checks.owner_addresses import is_owner_address
from brandhouse_shared.brands import brand_folders, read_brand
from brandhouse_shared.errors import BrandConfigError, BrandhouseError, join_bounded
from brandhouse_shared.settings import Settings

FILE = ".github/CODEOWNERS"
MAX_BYTES = 3_000_000
"""GitHub does not load a larger file."""

_HEAD = """# Generated from the owners in brand.toml by `brandhouse owners --write`; do not edit.
# The last line that matches a file decides.
"""
_ALLOWED = "an e-mail address, @user or @organisation/team"


class OwnershipError(BrandhouseError):
    """It cannot be said who owns a part of the workspace."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """One line of CODEOWNERS.

    Attributes:
        pattern: As in CODEOWNERS; `*` for everything that no later line names.
        owner: Who approves.
    """

    pattern: str
    owner: str


def list_owners(settings: Settings) -> list[Ownership]:
    """Return the platform team's line, then one for each brand, sorted.

    Raises:
        OwnershipError: If the platform team or a brand names nobody who could approve; all of them in one message.
    """
    owners = {folder.name: _owner_of(settings, folder.name) for folder in brand_folders(settings.brands_dir)}
    nameless = [f"{brand}: {owner!r}" for brand, owner in owners.items() if not is_owner_address(owner)]
    if nameless:
        raise OwnershipError(f"owner in brand.toml: {join_bounded(nameless)}; allowed: {_ALLOWED}")
    platform = Ownership("*", _platform_owner(settings))
    return [platform, *(Ownership(f"/brands/{brand}/", owner) for brand, owner in sorted(owners.items()))]


def _owner_of(settings: Settings, brand: str) -> str:
    try:
        return read_brand(settings.brands_dir / brand).config.owner
    except BrandConfigError as error:
        raise OwnershipError(f"{brand}: its brand.toml is not valid, so its owner is not known; run `brandhouse check {brand}`") from error


def _platform_owner(settings: Settings) -> str:
    path = settings.root / "pyproject.toml"
    try:
        owner = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["brandhouse"]["platform_owner"]
    except (OSError, ValueError, KeyError, TypeError):
        owner = None
    if not isinstance(owner, str) or not is_owner_address(owner):
        raise OwnershipError(f'pyproject.toml names no platform team; add `platform_owner = "..."` under [tool.brandhouse]: {_ALLOWED}')
    return owner


def render_codeowners(owners: Sequence[Ownership]) -> str:
    """Write the lines as GitHub reads them.

    Raises:
        OwnershipError: If the file would be larger than GitHub loads.
    """
    width = max(len(one.pattern) for one in owners) + 2
    text = _HEAD + "".join(f"{one.pattern:<{width}}{one.owner}\n" for one in owners)
    if len(text.encode()) > MAX_BYTES:
        raise OwnershipError(f"{FILE} would have {len(text.encode())} bytes; GitHub loads {MAX_BYTES}")
    return text


def is_current(settings: Settings, text: str) -> bool:
    """Whether the committed file says the same."""
    path = settings.root / FILE
    return path.is_file() and path.read_text(encoding="utf-8") == text


def write_codeowners(settings: Settings, text: str) -> None:
    """Write the file."""
    path = settings.root / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
