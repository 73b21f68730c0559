"""How long a monitor takes: one model with a million logged rows of twenty fields, and twelve brands, two at a time.

    python benchmarks/bench_monitor.py [--rows N] [--brands N] [--write]

Every run is a process of its own, so that its peak memory is its own and its imports count. The log lies in Parquet as the
keeper leaves it, the version's statistics are those of the training template. `--write` puts the figures into
docs/benchmarks/monitor.md, between the marks that name this file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))

NUMBERS, WHOLES, CATEGORIES, YES_NO = 10, 4, 4, 2
TRAINING_ROWS = 20_000
BLOCK_ROWS = 100_000
BRAND_ROWS = 100_000
"""Rows of each brand of the house; the one model alone has a million."""

NOON = datetime.fromisoformat("2027-03-10T12:00:00+00:00")
PAGE = ROOT / "docs" / "benchmarks" / "monitor.md"
BEGIN, END = "<!-- written by benchmarks/bench_monitor.py -->", "<!-- end of benchmarks/bench_monitor.py -->"


def main() -> None:
    """Measure both, or run one monitor if this is a child."""
    options = _parse()
    if options.child:
        print(json.dumps(_run_monitor(Path(options.child), options.brand)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        one = _measure_one(Path(made) / "one", options.rows)
        house = _measure_house(Path(made) / "house", options.brands)
    lines = _table(one, house)
    print("\n".join(lines))
    if options.write:
        _write(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--brands", type=int, default=12)
    parser.add_argument("--folder", default=None, help="where the logs are made; default: the system's temporary folder")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", default="")
    parser.add_argument("--brand", default="")
    return parser.parse_args()


def _measure_one(folder: Path, rows: int) -> dict[str, Any]:
    """One day of one model, read whole."""
    print(f"writing {rows:,} rows", file=sys.stderr)
    _make_house(folder, ["duin"], rows)
    size = sum(part.stat().st_size for part in folder.glob("home/predictions/*/*/*/*.parquet"))
    return {"rows": rows, "mb": size / 1e6, **_child(folder, "duin"), "load": os.getloadavg()[0]}


def _measure_house(folder: Path, brands: int) -> dict[str, Any]:
    names = [f"brand{number:02d}" for number in range(brands)]
    print(f"writing {brands} brands of {BRAND_ROWS:,} rows", file=sys.stderr)
    _make_house(folder, names, BRAND_ROWS)
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda name: _child(folder, name), names))
    seconds = time.monotonic() - started
    cpu_seconds = sum(run["cpu_seconds"] for run in runs)
    peak_mb = max(run["peak_mb"] for run in runs)
    return {"brands": brands, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb, "load": os.getloadavg()[0]}


def _make_house(folder: Path, names: list[str], rows: int) -> None:
    from watch_house import WatchHouse, days_before

    house = WatchHouse(folder)
    for number, name in enumerate(names):
        brand = house.add_brand(name, monitoring=f"min_rows = {min(rows, 1_000_000)}", inputs=_inputs())
        training = _make_rows(TRAINING_ROWS, 2 * number)
        version = house.register(brand, training, training["n0"].to_numpy()[:5_000])
        begin = days_before(NOON, 1)
        step = (NOON - begin) / max(1, rows // BLOCK_ROWS)
        for block in range(max(1, rows // BLOCK_ROWS)):
            live = _make_rows(min(rows, BLOCK_ROWS), [number, block])
            house.answer(version, brand, live, live["n0"].to_numpy(), begin + block * step, begin + (block + 1) * step)


def _inputs() -> str:
    lines = [f'n{place} = {{ type = "number", nullable = true }}' for place in range(NUMBERS)]
    lines += [f'i{place} = {{ type = "integer" }}' for place in range(WHOLES)]
    lines += [f'c{place} = {{ type = "category" }}' for place in range(CATEGORIES)]
    return "\n".join(lines + [f'b{place} = {{ type = "boolean" }}' for place in range(YES_NO)])


def _make_rows(count: int, seed: Any) -> Any:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"n{place}": np.round(rng.normal(place, 1 + place, count), 4) for place in range(NUMBERS)}
    columns |= {f"i{place}": rng.poisson(5 + 20 * place, count) for place in range(WHOLES)}
    columns |= {f"c{place}": rng.choice([f"kind {name}" for name in range(4 + 4 * place)], count) for place in range(CATEGORIES)}
    columns |= {f"b{place}": rng.random(count) < 0.3 for place in range(YES_NO)}
    return pd.DataFrame(columns)


def _child(folder: Path, brand: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(folder), "--brand", brand]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return {**json.loads(done.stdout.splitlines()[-1]), "process_seconds": time.monotonic() - started}


def _run_monitor(folder: Path, name: str) -> dict[str, Any]:
    """Run all checks of one model; what the command and the flow do, without the printing."""
    from brandhouse_aftercare.monitoring import run_monitor
    from brandhouse_shared.brands import find_brand
    from brandhouse_shared.ledger import open_ledger
    from brandhouse_shared.settings import Settings

    url = f"sqlite:///{folder / 'home' / 'ledger.db'}"
    settings = Settings.model_validate({"root": folder, "home": folder / "home", "ledger_url": url, "actor": "bench"})
    started, before = time.monotonic(), time.process_time()
    with open_ledger(url) as ledger:
        report = run_monitor(settings, ledger, find_brand(settings.brands_dir, name), "price", NOON)
    seconds = time.monotonic() - started
    drift = next(finding for finding in report.findings if finding.name == "drift")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    states = {one.name: str(one.state) for one in report.findings}
    used = time.process_time()
    return {
        "seconds": seconds,
        "check_cpu_seconds": used - before,
        "cpu_seconds": used,
        "peak_mb": peak,
        "rows_read": drift.rows,
        "states": states,
    }


def _table(one: dict[str, Any], house: dict[str, Any]) -> list[str]:
    fields = NUMBERS + WHOLES + CATEGORIES + YES_NO
    rows = f"{one['rows_read']:,} logged rows of {fields} fields ({one['mb']:.0f} MB of Parquet)"
    several = f"{house['brands']} brands of {BRAND_ROWS:,} rows, a process each, two at a time"
    loads = f"{one['load']:.1f} and {house['load']:.1f}"
    return [
        "| what | by the clock | of processors | limit by the clock |",
        "|---|---|---|---|",
        f"| a monitor's checks over {rows} | {one['seconds']:.1f} s | {one['check_cpu_seconds']:.1f} s | 10 s |",
        f"| the same with start and imports | {one['process_seconds']:.1f} s | {one['cpu_seconds']:.1f} s | |",
        f"| {several} | {house['seconds']:.1f} s | {house['cpu_seconds']:.1f} s | 60 s |",
        "",
        _say_memory(one["peak_mb"], house["peak_mb"]),
        _say_load(loads),
    ]


def _say_memory(one: float, several: float) -> str:
    return (
        f"Peak memory, all libraries included: {one:,.0f} MB over the million rows (limit 1,024 MB), "
        f"{several:,.0f} MB for the largest of the brands."
    )


def _say_load(loads: str) -> str:
    processors = os.cpu_count()
    return (
        f"So many processes wanted one of the {processors} processors meanwhile (load): {loads}. Above {processors}, the clock also "
        "measures others' work, and seconds of processors are what can be compared."
    )


def _write(lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
