"""From a brand's name to what clouds and Terraform allow, and which brands cannot stand beside each other.

A brand is 2 to 40 letters, digits and underscores. Buckets, repositories and roles take hyphens, no two in a row, none at
the end, and are shorter; so two brands can become one name. That is found before anything is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from brandhouse_infra.errors import StackNamesError
from brandhouse_infra.site import HOUSE, PLATFORM
from brandhouse_shared.slugs import slug_of

PLATFORM_STACK = f"{HOUSE}-{PLATFORM}"
"""No brand has a hyphen in its name."""

KINDS = ("boundary", "deployer", "gateway", "home", "serving", "starter", "worker")
"""What is put behind a brand's name for its parts."""

_LOOK_ALIKE = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"))


def check_names(brands: Iterable[str]) -> None:
    """Refuse brands whose stacks could be taken for one another.

    Raises:
        StackNamesError: With every problem.
    """
    names = sorted(brands)
    problems = [*_reserved(names), *_same(names), *_suffixed(names), *_alike(names)]
    if problems:
        raise StackNamesError(problems)


def _reserved(names: list[str]) -> Iterator[str]:
    for name in names:
        slug = slug_of(name)
        if slug == PLATFORM or slug.startswith(f"{PLATFORM}-"):
            yield f"brand {name!r} becomes {slug!r}, and what begins with {PLATFORM!r} is the platform's own; rename the brand"


def _same(names: list[str]) -> Iterator[str]:
    for slug, group in _grouped((slug_of(name), name) for name in names):
        yield f"brands {' and '.join(map(repr, group))} all become {slug!r}: they would share buckets, roles and keys; rename all but one"


def _suffixed(names: list[str]) -> Iterator[str]:
    """`auto` has a `auto-worker`; a brand of that name would be taken for it, by people and by policies."""
    slugs = {slug_of(name): name for name in names}
    for slug, name in slugs.items():
        head, _, kind = slug.rpartition("-")
        if kind in KINDS and head in slugs:
            yield f"brand {name!r} is named as the {kind} of brand {slugs[head]!r} is; rename it"


def _alike(names: list[str]) -> Iterator[str]:
    for _, group in _grouped((_skeleton(name), name) for name in names):
        if len({slug_of(name) for name in group}) == len(group):
            yield f"brands {' and '.join(map(repr, group))} look alike, and a name is typed to confirm a deletion; rename all but one"


def _skeleton(name: str) -> str:
    for written, seen in _LOOK_ALIKE:
        name = name.replace(written, seen)
    return name


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return ((key, group) for key, group in groups.items() if len(group) > 1)
