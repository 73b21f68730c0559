"""What `brand.toml` says: faults of its reading, and rules over several of its keys."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from brandhouse_flows.checks.owner_addresses import is_owner_address
from brandhouse_flows.checks.problems import Problem, make_problem
from brandhouse_flows.checks.schedules import schedule_faults
from brandhouse_flows.toml_lines import Place, find_places, nearest_place
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Privacy, Risk
from brandhouse_shared.errors import BrandConfigError, ConfigFault

FILE = "brand.toml"


def describe_faults(folder: Path, error: BrandConfigError) -> list[Problem]:
    """Return the faults of an unreadable or invalid declaration, each with its place."""
    places = {} if any(not fault.path and fault.kind != "wrong-value" for fault in error.faults) else read_places(folder)
    return [_described(folder, fault, places) for fault in error.faults]


def _described(folder: Path, fault: ConfigFault, places: Mapping[tuple[str, ...], Place]) -> Problem:
    place = _syntax_place(fault.what) if fault.kind == "toml-syntax" else _place_of(fault, places)
    return make_problem(folder, fault.kind, FILE, fault.what, line=place and place.line, column=place and place.column)


def _syntax_place(what: str) -> Place | None:
    """The parser writes its place into its message."""
    match = re.search(r"\(at line (\d+), column (\d+)\)", what)
    return Place(int(match[1]), int(match[2])) if match else None


def _place_of(fault: ConfigFault, places: Mapping[tuple[str, ...], Place]) -> Place | None:
    """A sentence about a table names the key it means, or starts with the dotted path to it."""
    path = fault.path
    said = fault.what.removeprefix(f"{'.'.join(path) or FILE}: ")
    dotted = tuple(said.partition(":")[0].split("."))
    if dotted in places:
        return places[dotted]
    named = next((places[(*path, word)] for word in said.split() if (*path, word) in places), None)
    return named or nearest_place(places, path)


def read_places(folder: Path) -> dict[tuple[str, ...], Place]:
    """Where each key of the declaration is; it must be valid TOML."""
    return find_places((folder / FILE).read_text(encoding="utf-8"))


def declaration_problems(brand: Brand) -> Iterator[Problem]:
    """Rules over several keys of a valid declaration."""
    places: dict[tuple[str, ...], Place] = {}
    for rule_id, path, what in (*_owner_faults(brand), *schedule_faults(brand.config), *_sensitive_faults(brand)):
        places = places or read_places(brand.folder)
        place = nearest_place(places, path)
        yield make_problem(brand.folder, rule_id, FILE, what, line=place and place.line, column=place and place.column)


def _owner_faults(brand: Brand) -> Iterator[tuple[str, Sequence[str], str]]:
    if not is_owner_address(brand.config.owner):
        yield "owner-address", ("owner",), f"owner {brand.config.owner!r} is neither an e-mail address nor a GitHub name"


def _sensitive_faults(brand: Brand) -> Iterator[tuple[str, Sequence[str], str]]:
    if brand.config.risk is not Risk.LOW:
        return
    for name, model in brand.config.models.items():
        for field, declared in model.inputs.items():
            if declared.privacy is Privacy.SENSITIVE:
                yield "sensitive-risk", ("models", name, "inputs", field), f"{name} uses the sensitive field {field!r} with risk = 'low'"
