"""Which brands a change touches, what each needs because of it, and why.

A brand is touched by its own files, by platform code in the import graph of its training or serving, by shared modules
that it imports, and by locked packages that it needs. Templates touch none: they reach brands by `brandhouse upgrade`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from brandhouse_authoring.git_changes import Changes, read_changes
from brandhouse_authoring.touches import Action, Affected, Touch, collect
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.settings import Settings

BRANDS = "brands/"
LOCK = "requirements.lock"
TOUCHES_NONE = ("docs/", "templates/", "tests/", "benchmarks/", ".git", ".ci/", "Makefile", "pyproject.toml", "LICENSE")
"""What no brand is made of: the platform's own checks cover it. The root's pyproject.toml reaches brands through the lock."""

_READ_BEFORE = ("brand.toml", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change comes to.

    Attributes:
        files: How many files differ from the base.
        affected: The brands that it touches, sorted.
    """

    files: int
    affected: list[Affected]


def find_affected(settings: Settings, base: str) -> Impact:
    """Compare the work tree, with what is not committed yet, to where it left `base`.

    Raises:
        GitError: If Git cannot tell.
    """
    changes = read_changes(settings.root, base)
    return Impact(len(changes.files), collect(_touches(settings, changes)))


def _touches(settings: Settings, changes: Changes) -> Iterator[Touch]:
    own, other = _by_brand(changes.files)
    wanted = [f"{BRANDS}{brand}/{file}" for brand, files in own.items() for file in _READ_BEFORE if file in files]
    old = changes.read_old([*wanted, LOCK] if LOCK in other else wanted)
    if own:
        yield from _own_touches(settings, own, old)
    if other:
        yield from _common_touches(settings, other, old.get(LOCK, b""))


def _own_touches(settings: Settings, own: Mapping[str, list[str]], old: Mapping[str, bytes]) -> Iterator[Touch]:
    from brandhouse_authoring.brand_changes import brand_touches  # knows the parts of a declaration, which takes time to import

    for brand, files in own.items():
        before = {file: old[f"{BRANDS}{brand}/{file}"] for file in _READ_BEFORE if f"{BRANDS}{brand}/{file}" in old}
        yield from brand_touches(brand, settings.brands_dir / brand, files, before)


def _by_brand(files: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    own: dict[str, list[str]] = defaultdict(list)
    other = []
    for file in files:
        brand, _, below = file.removeprefix(BRANDS).partition("/")
        if file.startswith(BRANDS) and below:
            own[brand].append(below)
        else:
            other.append(file)
    return own, other


def _common_touches(settings: Settings, files: Sequence[str], old_lock: bytes) -> Iterator[Touch]:
    """What files outside of brand folders mean for all of them. The modules that know more are imported where they are asked."""
    brands = [folder.name for folder in brand_folders(settings.brands_dir)]
    if any(file.startswith(("platform/", "shared/")) for file in files):
        from brandhouse_authoring.platform_changes import platform_touches

        yield from platform_touches(settings, files, brands)
    if LOCK in files:
        from brandhouse_authoring.lock_changes import lock_touches

        yield from lock_touches(settings, old_lock, brands)
    for file in files:
        if file.startswith("infra/") and not file.endswith(".md"):
            yield from (Touch(brand, frozenset({Action.DEPLOY}), "infrastructure", file, ()) for brand in brands)
        elif not _is_known(file):
            yield from (Touch(brand, frozenset({Action.TEST}), "files of unknown reach", file) for brand in brands)


def _is_known(file: str) -> bool:
    is_document = file.endswith(".md") or file.startswith(("mkdocs.", "LICENSE"))
    return is_document or file == LOCK or file.startswith((*TOUCHES_NONE, "platform/", "shared/", "infra/", BRANDS))
