"""Whether a stack names another tenant's things, anywhere: in a policy, a name, a reference or a text."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from brandhouse_infra.site import HOUSE, PLATFORM

_STATE = re.compile(r"brands/([a-z0-9_]+)/")


def foreign_names(
    document: Mapping[str, Any], *, slug: str, tenant: str, environment: str, slugs: Collection[str], environments: Collection[str]
) -> list[str]:
    """What in a stack belongs to another brand, or to another environment.

    Args:
        document: The stack, or its plan.
        slug: Of the stack's own tenant.
        tenant: Its name.
        environment: Its environment.
        environments: All of the house; elsewhere a word after the house's name means nothing.
        slugs: Of all brands of the house. Of two that fit, the longer one is meant: `auto-deals-x` is not `auto`'s.
    """
    text = json.dumps(document)
    places = "|".join(sorted(environments))
    known = sorted({*slugs, slug, PLATFORM}, key=len, reverse=True)
    found = {
        match.group(0)
        for match in re.finditer(rf"{HOUSE}[-/]({places})[-/]([a-z0-9-]+)", text)
        if _is_foreign(match, slug, environment, known)
    }
    found |= {match.group(0) for match in _STATE.finditer(text) if match.group(1) != tenant}
    if "terraform_remote_state" in text:
        found.add("terraform_remote_state")
    return sorted(found)


def _is_foreign(match: re.Match[str], slug: str, environment: str, known: Collection[str]) -> bool:
    where, rest = match.groups()
    if where != environment:
        return True
    meant = next((one for one in known if rest == one or rest.startswith(f"{one}-")), None)
    return meant not in (slug, PLATFORM, None) or (meant is None and rest.partition("-")[0] != "state")
