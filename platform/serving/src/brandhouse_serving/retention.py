"""Days that a brand keeps no longer are deleted: answers and labels, whole days at a time.

A day counts as old by the day (UTC) of the prediction, not of its label.
"""

import logging
import shutil
from datetime import date, timedelta
from pathlib import Path

from brandhouse_serving import labels
from brandhouse_serving.conversion import locked
from brandhouse_serving.durable_files import write_durably
from brandhouse_serving.journal import brands_with_journals, journal_folder
from brandhouse_shared.config import Retention
from brandhouse_shared.errors import BrandConfigError

LAST_KNOWN = "retention-days"
"""File in a brand's journal folder with what its brand.toml said last: a brand that left keeps no longer than it promised."""

GOING = ".going-"
"""Before the name of a day that is being deleted: it goes at once for whoever lists the days."""

logger = logging.getLogger(__name__)


def expire_all(home: Path, brands_dir: Path, today: date) -> int:
    """Delete the expired days of all brands; return how many days of models."""
    return sum(expire_brand(home, brands_dir, brand, today) for brand in brands_with_journals(home))


def expire_brand(home: Path, brands_dir: Path, brand: str, today: date) -> int:
    """Delete the expired days of one brand; none if another process works on its predictions just now."""
    with locked(home, brand) as is_mine:
        days = _days_to_keep(home, brands_dir, brand) if is_mine else None
        if days is None:
            return 0
        oldest = (today - timedelta(days=days)).isoformat()
        below = home / "predictions" / brand
        expired = sorted(path for path in below.glob("*/????-??-??") if path.name < oldest)
        for folder in expired:
            folder.rename(folder.with_name(GOING + folder.name))
        for folder in below.glob(f"*/{GOING}*"):
            shutil.rmtree(folder)
        for file in below.glob(f"*/{labels.FOLDER}/????-??-??.*"):
            if file.stem < oldest:
                file.unlink()
    if expired:
        logger.info("%s: %d days before %s deleted", brand, len(expired), oldest)
    return len(expired)


def _days_to_keep(home: Path, brands_dir: Path, brand: str) -> int | None:
    """What the brand declares; if it is gone or unreadable, what it declared last; None if that is not known either."""
    from brandhouse_shared.brands import read_brand

    last_known = journal_folder(home, brand) / LAST_KNOWN
    before = int(last_known.read_text()) if last_known.exists() else None
    folder = brands_dir / brand
    if not (folder / "brand.toml").exists():
        return Retention().predictions_days if before is None else before
    try:
        days = read_brand(folder).config.retention.predictions_days
    except BrandConfigError:
        return before
    if days != before:
        write_durably(last_known, str(days).encode())
    return days
