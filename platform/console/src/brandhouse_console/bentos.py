"""A version as a Bento: a folder, or one file, that answers without the platform."""

import shlex
from pathlib import Path

from brandhouse_console.output import print_json
from brandhouse_console.targets import check_destination, find_model
from brandhouse_serving.bento_building import BuiltBento, build_bento, check_file, export_bento
from brandhouse_shared.errors import UnknownVersionError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, parse_version
from brandhouse_shared.settings import load_settings


def bento(target: str, *, version: str | None, output: Path | None, as_json: bool) -> None:
    """Build the Bento of a version and say how it is used."""
    settings = load_settings()
    brand, key = find_model(settings, target)
    check_destination(settings, brand.name, output)
    if output is not None:
        check_file(output)
    chosen = _choose(open_ledger(settings.ledger_url.get_secret_value()), key, version)
    built = build_bento(settings.home, chosen, brand.model(key.model).serving.max_rows, settings.lock_file)
    if output is not None:
        export_bento(built, output)
    document = _document(built, chosen, output)
    if as_json:
        print_json(document)
        return
    print(f"{built.tag} ({chosen.key}, {built.runtime}{'' if built.is_new else ', built before'})")
    for label in ("path", "output", "serve", "containerize"):
        if document[label]:
            print(f"  {label + ':':<14}{document[label]}")


def _choose(ledger: Ledger, key: ModelKey, version: str | None) -> Version:
    if version is not None:
        return ledger.find_version(key.version(parse_version(version)))
    found = ledger.versions(key)
    for item in found:
        if item.stage is Stage.PRODUCTION:
            return item
    raise UnknownVersionError(key, "in production; name one with --version", [f"v{item.number} ({item.stage})" for item in found])


def _document(built: BuiltBento, version: Version, output: Path | None) -> dict[str, object]:
    place = f"BENTOML_HOME={shlex.quote(str(built.home))}"
    return {
        "brand": built.key.brand,
        "model": built.key.model,
        "version": f"v{version.number}",
        "stage": str(version.stage),
        "runtime": built.runtime,
        "tag": built.tag,
        "path": str(built.path),
        "output": str(output.absolute()) if output is not None else None,
        "built": built.is_new,
        "serve": f"{place} bentoml serve {built.tag} --port 3000",
        "containerize": f"{place} bentoml containerize {built.tag}",
    }
