"""`readiness` and `dora`: how ready models are for production, and how well changes get there."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import check_destination, find_model
from brandhouse_shared.brands import Brand, brand_folders, discover_brands, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.dora import Delivery
    from brandhouse_aftercare.readiness import Readiness


def readiness(names: Sequence[str], *, html: Path | None, try_tests: bool, as_json: bool) -> None:
    """Print how ready models are, and the cheapest next point.

    Args:
        names: Brands; none: all.
        html: File of a page; None: no page.
        try_tests: Whether to run the brands' tests first and record how they went.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.readiness import measure_readiness
    from brandhouse_aftercare.readiness_proofs import record_tests

    settings = load_settings()
    brands = _brands(settings, names)
    for brand in brands:
        check_destination(settings, brand.name, html)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        for brand in brands if try_tests else ():
            record_tests(settings, ledger, brand, datetime.now(UTC))
        found = measure_readiness(settings, ledger, brands, datetime.now(UTC))
    if as_json:
        print_json([one.as_document() for one in found])
    else:
        _print(found, in_full=bool(names))
    if html is not None and found:
        _write(html, found, silent=as_json)


def note(target: str, test: str, *, result: str, link: str, failed: bool, as_json: bool) -> None:
    """Write down that a test was done by hand.

    Args:
        target: `BRAND/MODEL`.
        test: Its name, such as `model.7`.
        result: What came out.
        link: Where it is documented.
        failed: Whether it turned out badly.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.readiness_proofs import record_by_hand

    settings = load_settings()
    _, key = find_model(settings, target)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        entry = record_by_hand(ledger, key, test, result, link, datetime.now(UTC), settings.actor, holds=not failed)
    if as_json:
        print_json(entry)
    else:
        print(f"{key}: {test} by hand {entry.state}, in the ledger as entry {entry.seq}")


def dora(brand: str | None, *, days: int, as_json: bool) -> None:
    """Print DORA's four metrics.

    Args:
        brand: None: all, and the house.
        days: Look at so many.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.dora import measure_delivery

    settings = load_settings()
    names = [find_brand(settings.brands_dir, brand).name] if brand else [folder.name for folder in brand_folders(settings.brands_dir)]
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        found = measure_delivery(settings, ledger, names, datetime.now(UTC), days)
    shown = found[:1] if brand else found
    if as_json:
        print_json([one.as_document() for one in shown])
    else:
        _print_delivery(shown, days)


def _brands(settings: Settings, names: Sequence[str]) -> list[Brand]:
    if names:
        return [find_brand(settings.brands_dir, name) for name in names]
    brands, errors = discover_brands(settings.brands_dir)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    return brands


def _print(found: Sequence["Readiness"], *, in_full: bool) -> None:
    columns = ["model", "score", "weakest", "data", "model tests", "infrastructure", "monitoring"]
    rows = [
        [str(one.key), one.score, one.weakest, *(one.sections[name] for name in ("data", "model", "infrastructure", "monitoring"))]
        for one in sorted(found, key=lambda one: (one.score, str(one.key)))
    ]
    print_table(columns, rows, title="points of 7; the score is that of the weakest section", empty="no model is declared")
    for one in found:
        if in_full:
            _print_tests(one)
        _print_next(one)


def _print_tests(one: "Readiness") -> None:
    from brandhouse_aftercare.readiness import age_days, section_tests

    for section, points in one.sections.items():
        rows = [
            [test.name, answer.points, answer.verdict.replace("_", " "), answer.found, age_days(answer, one.now), answer.link or None]
            for test in section_tests(section)
            for answer in [one.answers[test.name]]
        ]
        print()
        print_table(["test", "points", "verdict", "found", "days old", "where"], rows, title=f"{one.key}, {section}: {points:g} of 7")


def _print_next(one: "Readiness") -> None:
    tests = one.next_points
    if tests:
        print(f"{one.key}: cheapest next point: {tests[0].name} (about {tests[0].hours:g} h): {tests[0].advice}")
    else:
        print(f"{one.key}: no further point within reach in the section {one.weakest}")


def _write(html: Path, found: Sequence["Readiness"], *, silent: bool) -> None:
    from brandhouse_aftercare.readiness_page import render_readiness

    try:
        html.write_text(render_readiness(found), encoding="utf-8")
    except OSError as error:
        raise BrandhouseError(f"{html} cannot be written ({error.strerror}); name a file in a folder that exists") from error
    if not silent:
        print(f"page: {html}")


def _print_delivery(found: Sequence["Delivery"], days: int) -> None:
    columns = ["brand", "promotions", "a week", "lead hours", "of", "changes", "failed", "share", "restore hours", "of"]
    rows = [
        [
            one.brand or "the house",
            one.promotions,
            one.per_week,
            document["lead_hours"],
            document["lead_known"],
            one.changes,
            one.failures,
            one.failure_rate,
            document["restore_hours"],
            document["restored"],
        ]
        for one in found
        for document in [one.as_document()]
    ]
    print_table(columns, rows, title=f"the last {days} days; hours are medians")
