"""Tells the ledger how many people must agree to a brand's versions, as its declaration says."""

from typing import TYPE_CHECKING

from brandhouse_shared.brands import Brand
from brandhouse_shared.config import PEOPLE

if TYPE_CHECKING:
    from brandhouse_shared.ledger.ledger import Ledger


def guard(ledger: "Ledger", brand: Brand, actor: str) -> None:
    """Record how many people must agree to the brand's versions, if that is not known. Called before a version is registered or moved."""
    risk = brand.config.risk
    ledger.require_people(brand.name, PEOPLE[risk], actor, f"its brand.toml says risk = {str(risk)!r}")
