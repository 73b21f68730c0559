"""What goes on by itself in all brands: versions on trial, and retrainings that are owed. A brand that fails stops no other."""

from dataclasses import dataclass
from datetime import datetime

from brandhouse_aftercare.retrain_due import Due, due_retrainings
from brandhouse_aftercare.trial_progress import Moved, move_on
from brandhouse_shared.brands import discover_brands, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.guarding import guard
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.settings import Settings

ACTOR = "house progress"


@dataclass(frozen=True, slots=True)
class Progress:
    """What was moved, what is to be retrained, and what could not be looked at."""

    moved: list[Moved]
    due: list[Due]
    problems: list[str]


def move_house_on(settings: Settings, ledger: Ledger, now: datetime, *, only: str = "", run_id: str | None = None) -> Progress:
    """Look at all brands, or at one.

    Args:
        settings: Where brands and gateways' files are.
        ledger: What happened.
        now: Aware, UTC.
        only: Name of one brand; empty: all.
        run_id: Of the run that looks.

    Raises:
        UnknownBrandError, BrandConfigError: If one is named that does not exist or is broken.
    """
    brands, errors = ([find_brand(settings.brands_dir, only)], []) if only else discover_brands(settings.brands_dir)
    tried = {version.record.key for version in ledger.trial_versions()}
    moved: list[Moved] = []
    problems = [str(error)[:300] for error in errors]
    for brand in brands:
        try:
            guard(ledger, brand, ACTOR)  # a brand that became one of high risk is guarded from now on
            for key in brand.model_keys:
                if key in tried:
                    moved += move_on(ledger, settings.home, brand, key, now, run_id=run_id)
        except BrandhouseError as error:
            problems.append(f"{brand.name}: {str(error)[:300]}")
    return Progress(moved, due_retrainings(ledger, brands, now), problems)
