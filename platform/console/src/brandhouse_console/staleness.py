"""Back-test a model: how much worse does it get with age?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import check_destination, find_model
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings

if TYPE_CHECKING:
    from brandhouse_aftercare.staleness_curve import StalenessCurve


def staleness(target: str, *, html: Path | None, as_json: bool) -> None:
    """Measure the curve, keep it in the ledger, print it, and write the page if one is asked for.

    Args:
        target: `BRAND/MODEL`.
        html: File of the page; None: no page.
        as_json: Print JSON.
    """
    from brandhouse_aftercare.staleness_curve import measure_staleness, record_curve, say_curve

    settings = load_settings()
    brand, key = find_model(settings, target)
    check_destination(settings, brand.name, html)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        curve = measure_staleness(settings, ledger, brand, key)
        record_curve(ledger, curve, datetime.now(UTC), settings.actor)
    if as_json:
        print_json(curve.as_document())
    else:
        columns = [f"{curve.unit} older", f"loss of {curve.metric}", "low", "high", "share", "blocks", "rows"]
        rows = [[point.age, point.loss, point.low, point.high, point.loss_share, point.blocks, point.rows] for point in curve.points]
        print_table(columns, rows, title=f"{key}: {curve.fits} models of v{curve.number}'s params, each on {curve.learned_rows:,} rows")
        print(say_curve(curve))
    if html is not None and curve.points:
        _write(html, curve, brand.config.title, silent=as_json)


def _write(html: Path, curve: "StalenessCurve", title: str, *, silent: bool) -> None:
    from brandhouse_aftercare.staleness_page import render_curve

    try:
        html.write_text(render_curve(curve, title), encoding="utf-8")
    except OSError as error:
        raise BrandhouseError(f"{html} cannot be written ({error.strerror}); name a file in a folder that exists") from error
    if not silent:
        print(f"page: {html}")
