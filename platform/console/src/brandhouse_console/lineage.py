"""`lineage`: from snapshot to deployment, as a tree, as JSON or as a picture."""

from pathlib import Path

from brandhouse_console.output import print_json
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import load_settings


def lineage(target: str, *, svg: Path | None, as_json: bool) -> None:
    """Print the graph around a brand, a model, a version or a snapshot, and draw it if a file is named."""
    from brandhouse_aftercare.lineage import read_lineage, say_tree, write_picture

    settings = load_settings()
    found = read_lineage(settings, open_ledger(settings.ledger_url.get_secret_value()), target)
    if svg is not None:
        write_picture(found, svg)
    if as_json:
        print_json(found.as_document())
        return
    print("\n".join(say_tree(found)) or f"{target} has no snapshot and no version yet")
    print(f"\nversions: {found.version_count:,}; predictions in the log: {found.prediction_count:,}")
    if svg is not None:
        print(f"\npicture: {svg}")
