"""What a change of the lock means: the brands for which a distribution changed that they need, directly or not.

Which distribution needs which is read from what is installed: a lock with hashes does not say.
"""

import re
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from brandhouse_authoring.touches import Action, Touch
from brandhouse_shared.settings import Settings

_ENTRY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")
_REQUIRES = re.compile(r"^Requires-Dist: *(.+?)\s*$", re.MULTILINE)
MEMBER_PREFIX = "brandhouse-"


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the platform that all brands stand on."""

    members: tuple[str, ...]
    actions: frozenset[Action]
    why: str


PARTS = (
    _Part(("shared", "platform/flows"), frozenset({Action.TEST, Action.TRAIN}), "locked packages that training needs"),
    _Part(("platform/serving",), frozenset({Action.DEPLOY}), "locked packages that serving needs"),
)


def lock_touches(settings: Settings, old: bytes, brands: Sequence[str]) -> Iterator[Touch]:
    """Yield what the difference between an old lock and the present one means for each brand."""
    new = settings.lock_file.read_bytes() if settings.lock_file.is_file() else b""
    changed = changed_distributions(old, new)
    if not changed:
        return
    platform: set[str] = set()
    for part in PARTS:
        needed = closure([text for member in part.members for text in declared_requirements(settings.root / member)])
        platform |= needed
        for name in sorted(changed & needed):
            yield from (Touch(brand, part.actions, part.why, name) for brand in brands)
    for brand in brands if changed - platform else ():
        for name in sorted((changed - platform) & closure(declared_requirements(settings.brands_dir / brand))):
            yield Touch(brand, frozenset({Action.TEST, Action.TRAIN}), "locked packages that it needs", name)


def changed_distributions(old: bytes, new: bytes) -> set[str]:
    """Names of the distributions that two locks hold in different versions, with different hashes, or only one of them holds."""
    before, after = _entries(old), _entries(new)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _entries(lock: bytes) -> dict[str, list[str]]:
    """Normalised name to its lines; one that is locked twice, for different machines, has the lines of both."""
    entries: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in lock.decode("utf-8", errors="replace").splitlines():
        match = _ENTRY.match(line)
        if match:
            lines = entries.setdefault(canonicalize_name(match[1]), [])
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append(line.strip())
    return entries


def declared_requirements(folder: Path) -> list[str]:
    """Dependencies of a member or brand, the optional ones too; none where its project file cannot be read."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return []
    extras = project.get("optional-dependencies", {}).values()
    return [text for texts in (project.get("dependencies", []), *extras) for text in texts]


def closure(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that requirements need on this machine, directly or not, but for those of the workspace.

    What is not installed is part of it; what that needs in turn cannot be known here.
    """
    found: set[tuple[str, str]] = set()
    pending = [need for text in requirements for need in _needs(text, "")]
    while pending:
        need = pending.pop()
        if need in found:
            continue
        found.add(need)
        name, extra = need
        pending += [further for text in _requires(name) for further in _needs(text, extra)]
    return {name for name, _ in found if not name.startswith(MEMBER_PREFIX)}


@cache
def _needs(text: str, extra: str) -> tuple[tuple[str, str], ...]:
    """The distribution of a requirement, once plain and once for each of its extras; nothing if its marker says no."""
    if not extra and "extra ==" in text:  # most lines of most packages; parsing them would take the longest
        return ()
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ()
    if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
        return ()
    name = canonicalize_name(requirement.name)
    return (name, ""), *((name, one) for one in sorted(requirement.extras))


@cache
def _requires(name: str) -> tuple[str, ...]:
    folder = _installed().get(name)
    if folder is None:
        return ()
    head = (folder / "METADATA").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    return tuple(_REQUIRES.findall(head))


@cache
def _installed() -> dict[str, Path]:
    folders = Path(sysconfig.get_path("purelib")).glob("*.dist-info")
    return {canonicalize_name(folder.name.split("-")[0]): folder for folder in folders if (folder / "METADATA").is_file()}
