"""A brand leaves the house: what it has, its archive, the end of its versions and keys, and what is still to be destroyed."""

import os
from datetime import UTC, datetime
from pathlib import Path

from brandhouse_aftercare.farewell import Belongings, FarewellError, export, look, refuse_unless_leaving, say_farewell
from brandhouse_console.isolation_surfaces import PER_BRAND
from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import check_destination
from brandhouse_serving.log_erasure import settle_journals
from brandhouse_shared.brands import find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.settings import Settings, load_settings

FOLDERS = (*PER_BRAND, "runs")


def leave(name: str, *, reason: str, export_to: Path | None, confirmed: str, as_json: bool) -> None:
    """Say what would be done; with the brand's name typed, do it.

    Args:
        name: The brand.
        reason: For the ledger.
        export_to: Where the archive is written; needed to do it.
        confirmed: The brand's name, typed. Empty: a dry run, for a brand that stays too.
        as_json: Print JSON.
    """
    settings, now = load_settings(), datetime.now(UTC)
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    brand = find_brand(settings.brands_dir, name)
    if confirmed:
        refuse_unless_leaving(brand)
    if confirmed == name and export_to is not None:
        settle_journals(settings.home, name)  # the newest answers, so that an archive has one form of them
    belongings = look(settings, ledger, brand, FOLDERS, os.environ)
    stacks = _stacks(settings, name)
    if not confirmed:
        _print_dry(belongings, stacks, as_json=as_json)
        return
    if confirmed != name:
        raise FarewellError(f"{name}: nothing was done; to agree, add --confirm {name}")
    if export_to is None:
        raise FarewellError(f"{name}: nothing was done; say where its archive goes with --export FILE")
    check_destination(settings, name, export_to)
    archive = export(belongings, export_to, now)
    entry = say_farewell(ledger, belongings, archive, actor=settings.actor, reason=reason, now=now)
    if as_json:
        print_json({"brand": name, "archive": str(archive.path), "destroy": stacks} | entry.facts)
        return
    print(f"{name}: {archive.files} files, {archive.size_bytes} bytes in {archive.path}, sha256 {archive.sha256}")
    print(f"ended: {len(belongings.served)} version(s) that were served, {entry.facts['keys']} key(s). The ledger keeps a tombstone")
    _print_rest(name, stacks)


def _stacks(settings: Settings, name: str) -> list[str]:
    """Commands that end what infrastructure made for it, from what the ledger says was applied and not destroyed."""
    from brandhouse_infra.workplace import standing_stacks

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    places = sorted(entry.name.split("/") for entry in standing_stacks(ledger, name))
    return [f"brandhouse infra destroy {name} --target {target} --environment {place} --confirm {name}" for target, place in places]


def _print_dry(belongings: Belongings, stacks: list[str], *, as_json: bool) -> None:
    brand = belongings.brand
    groups: dict[str, list[int]] = {}
    for part in belongings.parts:
        group = "/".join(part.name.split("/")[: 2 if part.name.startswith("home/") else 1])
        groups.setdefault(group, []).append(part.size_bytes)
    groups["ledger"] = [len(str(document)) for document in belongings.documents.values()]
    served = [f"{version.key} ({version.stage})" for version in belongings.served]
    if as_json:
        parts = {name: {"files": len(sizes), "bytes": sum(sizes)} for name, sizes in groups.items()}
        print_json({"brand": brand.name, "leaving": brand.config.leaving, "parts": parts, "served": served, "destroy": stacks})
        return
    print_table(
        ["part", "files", "bytes"], [[name, len(sizes), sum(sizes)] for name, sizes in groups.items()], title=f"{brand.name}: dry run"
    )
    print(f"would end: {', '.join(served) or 'nothing is served'}")
    if not brand.config.leaving:
        print(f"it would be refused: brands/{brand.name}/brand.toml does not say `leaving = true`")
    print(f"to do it: brandhouse retire {brand.name} --reason ... --export {brand.name}.tar --confirm {brand.name}")
    _print_rest(brand.name, stacks)


def _print_rest(name: str, stacks: list[str]) -> None:
    print("then, by hand: empty its store and schema;", "; ".join(stacks) or "no stack of it was applied from here", end="; ")
    print(f"remove brands/{name} and its folders below the home")
