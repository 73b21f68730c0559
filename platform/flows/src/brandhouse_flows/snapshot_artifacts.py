"""What an ingest run shows of a new snapshot in the Prefect UI: what it holds, what changed, and where its report is.

Never a reason for an ingest to fail: the snapshot is in before anything here begins, and large ones are left to
`brandhouse data report`.
"""

import re

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from brandhouse_flows.comparison import Comparison, Side
from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.snapshot_comparison import compare_snapshots
from brandhouse_flows.snapshot_log import read_snapshot_log
from brandhouse_flows.snapshot_report import KeptReport, find_report, keep_report
from brandhouse_flows.wording import say_share, shorten
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import SnapshotRecord
from brandhouse_shared.settings import Settings

MAX_REPORTED_ROWS = 100_000
"""Larger snapshots are reported on demand only: reading them once more takes longer than a moment."""

MAX_COMPARED_ROWS = 50_000
"""Larger snapshots are compared on demand only."""

LISTED = 10


def publish_snapshot(settings: Settings, brand: Brand, snapshot: Snapshot, ledger: Ledger) -> None:
    """Make the report of a snapshot that has none yet, and an artifact of it. A failure is a warning of the run."""
    logger = get_run_logger()
    subject = f"{brand.name}/{snapshot.dataset}"
    try:
        entries = read_snapshot_log(settings, brand, snapshot.dataset, ledger).entries
        record = next(entry.record for entry in entries if entry.record.hash_md5 == snapshot.hash_md5)
        before = next((entry.record for entry in entries if entry.record.hash_md5 != snapshot.hash_md5), None)
        if record.rows > MAX_REPORTED_ROWS:
            logger.info("%s: %d rows; its report is made by `brandhouse data report %s`", subject, record.rows, subject)
        elif find_report(settings, brand, snapshot.dataset, snapshot.hash_md5) is None:
            report = keep_report(settings, brand, snapshot.dataset, snapshot.hash_md5)
            text = describe_snapshot(subject, snapshot, report, _changes(settings, brand, record, before))
            key = f"{brand.name}-{snapshot.dataset}-snapshot".replace("_", "-")
            create_markdown_artifact(key=key, markdown=text, description=f"{snapshot.hash_md5[:12]}: {report.summary}")
    except Exception as error:  # an entry point: the report is an extra, drawn by libraries that may raise anything
        logger.warning("%s: no report was made: %s: %s", subject, type(error).__name__, str(error)[:300])


def describe_snapshot(subject: str, snapshot: Snapshot, report: KeptReport, changes: Comparison | None) -> str:
    """Write the artifact's Markdown. It names columns and counts, never a value."""
    lines = [f"# {subject}: {snapshot.hash_md5[:12]}", "", f"{report.summary}.", ""]
    if changes is not None:
        rows = changes.rows
        changed = "" if rows.changed is None else f"{rows.changed:,} changed, "
        lines += [f"Since the snapshot before: {rows.equal:,} rows equal, {changed}{rows.added:,} added, {rows.removed:,} removed.", ""]
        lines += [f"Columns added: {_names(changes.added_columns)}.", ""] if changes.added_columns else []
        lines += [f"Columns removed: {_names(changes.removed_columns)}.", ""] if changes.removed_columns else []
        moved = [one for one in changes.columns if one.word in ("small", "clear", "large")][:LISTED]
        lines += ["| column | change | effect | missing before | missing after |", "|---|---|---|---|---|"] if moved else []
        lines += [
            f"| {_name(one.name)} | {one.word} | {one.effect:.3f} | {_missing(one.before)} | {_missing(one.after)} |" for one in moved
        ]
    return "\n".join([*lines, "", f"All columns: `brandhouse data report {subject}` prints where the page is.", ""])


def _changes(settings: Settings, brand: Brand, record: SnapshotRecord, before: SnapshotRecord | None) -> Comparison | None:
    """The difference from the snapshot before; None if there is none, or either is too large for a moment."""
    if before is None or max(before.rows, record.rows) > MAX_COMPARED_ROWS:
        return None
    return compare_snapshots(settings, brand, record.dataset, before.hash_md5, record.hash_md5)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(_name(name) for name in names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _name(name: str) -> str:
    """A column's name as code, which Markdown leaves alone; the signs that end a code or a table cell are replaced."""
    return f"`{re.sub(r'[`|]', ' ', shorten(name))}`"


def _missing(side: Side) -> str:
    return say_share(side.missing_share)
