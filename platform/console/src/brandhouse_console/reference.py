"""Generated reference files: `python -m brandhouse_console.reference` writes them, `--check` fails if one is stale."""

import argparse
import json
import sys
from pathlib import Path

from brandhouse_console.api_tables import api_reference
from brandhouse_console.brand_tables import brand_reference
from brandhouse_console.command_tables import command_reference
from brandhouse_console.docstrings import described_schema
from brandhouse_console.readiness_tables import PAGE as READINESS_PAGE
from brandhouse_console.readiness_tables import readiness_reference
from brandhouse_console.rule_tables import rule_reference
from brandhouse_console.settings_tables import settings_reference
from brandhouse_flows.checks.catalogue import PAGE
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.settings import find_workspace

SCHEMA_ID = "brand.schema.json"


def generated_files() -> dict[str, str]:
    """Path below the workspace to content, of every generated file."""
    return {
        "docs/reference/brand.schema.json": brand_schema(),
        "docs/reference/brand-toml.md": brand_reference(),
        PAGE: rule_reference(),
        READINESS_PAGE: readiness_reference(),
        "docs/reference/command.md": command_reference(),
        "docs/reference/settings.md": settings_reference(),
        "docs/reference/api.md": api_reference(),
    }


def brand_schema() -> str:
    """JSON Schema of `brand.toml`, for editors and checks."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **described_schema(BrandConfig)}
    return json.dumps(schema, indent=2) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    root = find_workspace(Path.cwd())
    generated = generated_files()
    stale = [name for name, content in generated.items() if not _is_current(root / name, content)]
    if check:
        for name in stale:
            print(f"{name} is stale; run `make format` and commit it", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(generated[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0


def _is_current(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content


if __name__ == "__main__":
    sys.exit(main())
