"""`brandhouse affected`: which brands a change touches, with the reason, and as a matrix for workflows."""

import json
import math
from collections.abc import Sequence

from brandhouse_authoring.affected import Impact, find_affected
from brandhouse_authoring.touches import Action, Affected
from brandhouse_console.output import print_json
from brandhouse_shared.settings import load_settings

MAX_JOBS = 40
"""Of one matrix. GitHub takes 256; more jobs than runners only wait."""


def affected(base: str, *, matrix: Action | None, as_json: bool) -> None:
    """Print the touched brands as a table, as JSON, or the ones that need an action as one line for a workflow's matrix."""
    impact = find_affected(load_settings(), base)
    if matrix is not None:
        print(json.dumps(build_matrix(impact.affected, matrix)))
    elif as_json:
        print_json([_document(brand) for brand in impact.affected])
    else:
        _print_text(impact)


def _print_text(impact: Impact) -> None:
    """One paragraph for all brands that are touched alike: a change of the platform touches a thousand in the same way."""
    alike: dict[tuple[tuple[Action, ...], tuple[str, ...]], list[str]] = {}
    for brand in impact.affected:
        alike.setdefault((brand.actions, brand.reasons), []).append(brand.brand)
    for (actions, reasons), brands in alike.items():
        print(f"{', '.join(actions)}: {', '.join(brands)}")
        print("".join(f"    {reason}\n" for reason in reasons), end="")
    print(f"{len(impact.affected)} brand(s) touched by {impact.files} changed file(s)")


def build_matrix(touched: Sequence[Affected], action: Action) -> dict[str, list[str]]:
    """Return the brands that need an action, one job each; of many brands, several a job, separated by blanks."""
    brands = [brand.brand for brand in touched if action in brand.actions]
    size = max(1, math.ceil(len(brands) / MAX_JOBS))
    return {"brands": [" ".join(brands[start : start + size]) for start in range(0, len(brands), size)]}


def _document(brand: Affected) -> dict[str, object]:
    return {
        "brand": brand.brand,
        "actions": list(brand.actions),
        "models": "all" if brand.models is None else list(brand.models),
        "reason": brand.reason,
        "reasons": list(brand.reasons),
    }
