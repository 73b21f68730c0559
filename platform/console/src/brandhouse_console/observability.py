"""Rule files for Prometheus and dashboards for Grafana, written into a folder: one file a brand, and one for the house."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brandhouse_console.output import print_json
from brandhouse_shared.brands import Brand, discover_brands, find_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import load_settings

RULES = ".rules.yml"
DASHBOARD = ".dashboard.json"


def rules(brand: str | None, *, output: Path, job: str, as_json: bool) -> None:
    """Write Prometheus' alert rules.

    Args:
        brand: Only this brand's; None: all brands' and the house's.
        output: Folder; made if need be. Rule files in it of brands that are gone are removed.
        job: Name of the scrape job of the gateway.
        as_json: Print what was written as JSON.
    """
    import yaml  # type: ignore[import-untyped]

    from brandhouse_aftercare.prometheus_rules import brand_groups, house_groups

    documents: dict[str, Any] = {one.name: brand_groups(one) for one in _brands(brand)}
    documents |= {} if brand else {"house": house_groups(job)}
    files = {f"{name}{RULES}": yaml.safe_dump(document, sort_keys=False, width=10_000) for name, document in documents.items()}
    _write(files, output, RULES if brand is None else None, as_json=as_json)


def dashboards(brand: str | None, *, output: Path, as_json: bool) -> None:
    """Write Grafana's dashboards: one a brand, and with all brands that of the fleet; arguments as for `rules`."""
    from brandhouse_aftercare.dashboards import brand_dashboard, fleet_dashboard

    brands = _brands(brand)
    files = {f"{one.name}{DASHBOARD}": brand_dashboard(one) for one in brands}
    files |= {} if brand else {f"fleet{DASHBOARD}": fleet_dashboard(brands)}
    _write(files, output, DASHBOARD if brand is None else None, as_json=as_json)


def _brands(brand: str | None) -> list[Brand]:
    brands_dir = load_settings().brands_dir
    if brand is not None:
        return [find_brand(brands_dir, brand)]
    brands, errors = discover_brands(brands_dir)
    if errors:
        raise BrandhouseError(f"{errors[0]}\nwithout it the files would be those of fewer brands; mend it, or name one brand")
    return brands


def _write(files: Mapping[str, str], output: Path, stale: str | None, *, as_json: bool) -> None:
    """Write files whose content is new, and remove those of an ending that are no longer generated."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        gone = [path for path in output.glob(f"*{stale}") if path.name not in files] if stale else []
        changed = [name for name, text in files.items() if not _holds(output / name, text)]
        for name in changed:
            (output / name).write_text(files[name], encoding="utf-8")
        for path in gone:
            path.unlink()
    except OSError as error:
        raise BrandhouseError(f"{output} cannot be written ({error.strerror}); name a folder that may be") from error
    if as_json:
        print_json([{"file": str(output / name), "changed": name in changed} for name in sorted(files)])
        return
    removed = f", {len(gone)} removed" if gone else ""
    print(f"{output}: {len(files)} files, {len(changed)} written{removed}")


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
