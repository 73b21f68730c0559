"""What to try first with each ready module: candidates, their search spaces and a budget, as they stand in `brand.toml`.

Data only, so that proposing a brand imports no learning library.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from brandhouse_shared.config import Candidate, Distribution, Search
from brandhouse_shared.errors import BrandhouseError, join_bounded

MANY_ROWS = 50_000
"""From here on a fit takes seconds: fewer and smaller trees, fewer trials."""

FEW_ROWS = 300
"""Below, trees with many leaves learn by heart: larger leaves, and no search that would pick by luck."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What `brand.toml` should hold to begin with.

    Attributes:
        candidates: By name, in the order to write them.
        search: The budget of the search over their spaces.
    """

    candidates: Mapping[str, Candidate]
    search: Search


def recommend(module: str, rows: int) -> Recommendation:
    """Return what to begin with.

    Args:
        module: Name of a ready module of estimators, such as `prices`.
        rows: Rows of the table.

    Raises:
        BrandhouseError: If there is no such module.
    """
    if module not in _KINDS:
        raise BrandhouseError(f"no ready module {module[:60]!r}; allowed: {join_bounded(_KINDS)}")
    kinds = [kind for kind in _KINDS[module] if not (rows >= MANY_ROWS and kind == "forest")]
    return Recommendation({kind: _candidate(module, kind, rows) for kind in kinds}, _search(rows))


MODULES = ("amounts", "prices", "counts", "yes_no", "classes", "topics")
"""The modules that build estimators."""

_KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(MODULES, ("linear", "forest", "boosting")),
    "topics": ("linear",),  # boosting is there to be tried; on words it costs much and seldom wins
}

_STRENGTHS = {
    "amounts": ("alpha", 0.1, 100.0),
    "prices": ("alpha", 0.1, 100.0),
    "counts": ("alpha", 0.001, 1.0),
    "yes_no": ("C", 0.01, 10.0),
    "classes": ("C", 0.01, 10.0),
    "topics": ("C", 1.0, 100.0),
}
"""The parameter of regularisation of a module's linear kind, and its range."""


def _candidate(module: str, kind: str, rows: int) -> Candidate:
    space = {} if rows < FEW_ROWS else _space(module, kind)
    columns = _SOME if kind == "forest" and rows >= FEW_ROWS and module not in ("yes_no", "classes") else {}
    return Candidate(params={"kind": kind, **_size(kind, rows), **columns}, space=space)


def _space(module: str, kind: str) -> dict[str, Distribution]:
    match kind:
        case "linear":
            name, low, high = _STRENGTHS[module]
            return {name: Distribution(low=low, high=high, log=True)}
        case "forest":
            return {}  # of all kinds it costs most and gains least by a search
    return {
        "learning_rate": Distribution(low=0.03, high=0.2, log=True),
        "max_leaf_nodes": Distribution(low=6, high=40, integer=True, log=True),
    }


_SOME = {"max_features": 0.6}
"""Columns that a split of a regression's tree looks at: half the time of all of them, and about the same score. For classes the
forest's default, their square root, is right."""


def _size(kind: str, rows: int) -> dict[str, int | float]:
    """Parameters by the table's size; the rest is the module's default."""
    match kind:
        case "forest":
            return {"n_estimators": 100, "min_samples_leaf": 5} if rows < FEW_ROWS else {"n_estimators": 60, "min_samples_leaf": 2}
        case "boosting" if rows < FEW_ROWS:
            return {"max_iter": 60, "learning_rate": 0.06, "max_leaf_nodes": 6}
        case "boosting" if rows >= MANY_ROWS:
            return {"max_iter": 150, "learning_rate": 0.1}
        case "boosting":
            return {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 15}
    return {}


def _search(rows: int) -> Search:
    if rows < FEW_ROWS:
        return Search(trials=3, seconds=20.0, folds=5)
    return Search(trials=4, seconds=30.0) if rows >= MANY_ROWS else Search(trials=7, seconds=12.0)
