"""All models at a glance, from the brand files and one query on the ledger."""

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brandhouse_console.output import print_json, print_table, say_stage
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.ledger.records import StatusRow
from brandhouse_shared.ledger.status import read_status
from brandhouse_shared.settings import load_settings


def status(*, as_json: bool) -> None:
    """Print one line per declared model; a model without a version is shown as such, a broken brand as broken."""
    settings = load_settings()
    rows = {(row.brand, row.model): row for row in read_status(settings.ledger_url.get_secret_value())}
    brands, errors = discover_brands(settings.brands_dir)
    documents = [
        _document(key.brand, key.model, rows.pop((key.brand, key.model), None), brand.model(key.model))
        for brand in brands
        for key in brand.model_keys
    ]
    documents += [_document(brand, model, row, None) for (brand, model), row in sorted(rows.items())]
    if as_json:
        print_json(documents)
    else:
        _print_documents(documents)
    for error in errors:
        print(f"broken: {error}", file=sys.stderr)


def _document(brand: str, model: str, row: StatusRow | None, declared: ModelConfig | None) -> dict[str, Any]:
    """One model; a row without a declaration is of a brand that is gone or broken."""
    document: dict[str, Any] = dict.fromkeys(StatusRow.model_fields) | {"stage": "untrained", "on_trial": [], "red_checks": []}
    if row is not None:
        document = row.model_dump(mode="json") | {"version": f"v{row.version}"}
    elif declared is not None:
        document |= {"task": str(declared.task), "metric": declared.metric}
    return document | {"brand": brand, "model": model, "declared": declared is not None}


def _print_documents(documents: list[dict[str, Any]]) -> None:
    is_on_trial = any(item["on_trial"] for item in documents)
    is_checked = any(item["checks"] for item in documents)
    columns = ["brand", "model", "version", "stage", "task", "metric", "score", "baseline", "runtime", "promoted by"]
    print_table(
        columns + ["checks"] * is_checked + ["on trial"] * is_on_trial,
        [
            [
                item["brand"],
                item["model"],
                item["version"],
                item["stage"],
                item["task"],
                item["metric"],
                item["score"],
                item["baseline_score"],
                item["runtime"],
                item["actor"],
            ]
            + [_say_checks(item["checks"], item["red_checks"])] * is_checked
            + [", ".join(_say_trial(**one) for one in item["on_trial"])] * is_on_trial
            for item in documents
        ],
        empty="no brand yet: a brand is a folder below brands/ with a brand.toml",
    )


def _say_checks(worst: str | None, red: list[str]) -> str:
    return f"red: {', '.join(red)}" if red else (worst or "").replace("_", " ")


def _say_trial(version: int, stage: str, share: float | None) -> str:
    return f"v{version} {say_stage(stage, share)}"


def upgrade_ledger() -> None:
    """Bring the ledger's schema to this release; a SQLite ledger is copied aside first."""
    from brandhouse_shared.ledger import upgrade_ledger as upgrade

    url = load_settings().ledger_url.get_secret_value()
    copy = copy_aside(url)
    before = upgrade(url)
    print(f"the ledger is up to date; it was at {before or 'nothing: a new one was made'}" + (f"; a copy is in {copy}" if copy else ""))


def copy_aside(url: str) -> Path | None:
    """Copy a SQLite ledger beside itself, consistently even while it is written; None if there is no such file."""
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.is_file():
        return None
    copy = path.with_name(f"{path.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy
