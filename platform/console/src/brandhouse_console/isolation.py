"""`isolation`: every brand against every other, on every surface of serving."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from brandhouse_console.isolation_matrix import Matrix, try_all
from brandhouse_console.isolation_report import COLUMNS, render_html, table_rows
from brandhouse_console.isolation_surfaces import build_lane
from brandhouse_console.isolation_world import running_world, scratch_world
from brandhouse_console.output import print_json, print_table
from brandhouse_console.progress import show_line
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, load_settings


def isolation(*, url: str | None, html: Path | None, rounds: int, as_json: bool) -> None:
    """Try everything, print what came of it, and write the report; exit status 1 if something was open or not tried.

    Args:
        url: A running gateway to try instead of one of our own.
        html: Where the report goes; None: below the home, by date.
        rounds: How often each kind of refusal is timed.
        as_json: Print all attempts instead of a table.
    """
    settings = load_settings()
    matrix = _try(settings, url, rounds)
    path = html or settings.home / "reports" / f"isolation-{matrix.at:%Y%m%dT%H%M%S}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_html(matrix), encoding="utf-8")
    if as_json:
        print_json({**matrix.as_document(), "report": str(path)})
    else:
        print_table(COLUMNS, table_rows(matrix))
        print(f"\n{'tight' if matrix.is_tight else 'NOT TIGHT'}: {len(matrix.cells)} attempts; report: {path}")
    if not matrix.is_tight:
        sys.exit(1)


def _try(settings: Settings, url: str | None, rounds: int) -> Matrix:
    brands, errors = discover_brands(settings.brands_dir)
    if errors:
        raise BrandhouseError(f"{len(errors)} brand(s) cannot be read, so nobody can say what is theirs; run `brandhouse check`")
    if len(brands) < 2:
        raise BrandhouseError("isolation is between brands; this workspace has fewer than two")
    now = datetime.now(UTC)
    if url is not None:
        with running_world(settings, brands, url) as world:
            return try_all(world, build_lane(world.settings), now, url, show_line, rounds)
    with scratch_world(settings, brands) as world:
        return try_all(world, build_lane(world.settings), now, "a gateway of its own over a copy of the ledger", show_line, rounds)
