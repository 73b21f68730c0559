"""How long `brandhouse replay` takes with ten million predictions in the log, beside the same command with one.

    python benchmarks/bench_replay.py [--rows 10000000] [--write]

All rows lie in one day of one model, which is the worst case: the day is known from the id. Two versions answered side
by side, one row in ten by the other. The command is started anew each time, as a person starts it, and the two houses
take turns. `--write` puts the lines into the page.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fixtures"))
from serving_house import CASA, House

from brandhouse_serving import prediction_ids
from brandhouse_serving.prediction_table import add_rows, day_folder, full_rows

NOON_MS = int(datetime(2026, 3, 10, 6, tzinfo=UTC).timestamp() * 1000)
ROUNDS = 9
PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "replay.md"
BEGIN, END = "<!-- written by benchmarks/bench_replay.py -->", "<!-- end of benchmarks/bench_replay.py -->"
COMMAND = Path(sys.executable).with_name("brandhouse")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--write", action="store_true", help="put the lines into docs/how-to/replay.md")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-replay-") as folder:
        lines = measure(Path(folder), asked.rows)
    print("\n".join(lines))
    if asked.write:
        write(lines)


def write(lines: list[str]) -> None:
    """Put the lines between their marks on the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text("\n".join([before + BEGIN, "```text", *lines, "```", END + rest.partition(END)[2]]), encoding="utf-8")


def measure(folder: Path, rows: int) -> list[str]:
    """Build both houses, ask them in turns, and return lines to print.

    Raises:
        AssertionError: If a replay does not match.
    """
    large, small = House(folder / "large"), House(folder / "small")
    for house in (large, small):
        house.register_casa(2.0)
        house.register_casa(3.0)
    began = time.perf_counter()
    asked, only = write_log(large, rows), write_log(small, 1)
    built = time.perf_counter() - began
    taken: dict[str, list[tuple[float, float]]] = {"large": [], "small": []}
    for place in range(ROUNDS + 1):
        taken["large"].append(replay(large, asked[place * len(asked) // (ROUNDS + 1)]))
        taken["small"].append(replay(small, only[0]))
    files = list(large.home.rglob("part-*.parquet"))
    size = sum(path.stat().st_size for path in files) / 1e6
    lines = [f"log of {rows:,} predictions in one day: {len(files)} files, {size:,.0f} MB (made in {built:.0f} s)"]
    for name, what in (("large", f"{rows:,} predictions"), ("small", "1 prediction")):
        seconds = taken[name][1:]  # the first fills the system's cache of files
        wall, processor = [one[0] for one in seconds], [one[1] for one in seconds]
        lines.append(
            f"brandhouse replay, {what:>22}: median {statistics.median(wall):.2f} s, worst {max(wall):.2f} s; "
            f"processor {statistics.median(processor):.2f} s"
        )
    return lines


def write_log(house: House, rows: int) -> list[str]:
    """Write a day's answers as the keeper leaves them; return an id of each file."""
    folder = day_folder(house.home, CASA, NOON_MS)
    chosen, number, written = [], 1, 0
    while written < rows:
        count = min(full_rows(number), rows - written)
        ids = _write_part(folder, written, count)
        chosen.append(ids[count // 2])
        written, number = written + count, number + 1
    return chosen


def _write_part(folder: Path, first: int, count: int) -> list[str]:
    versions = [2 if place % 10 == 0 else 1 for place in range(count)]
    stamps = [NOON_MS + (first + place) * 8 // 1000 for place in range(count)]  # 125 a millisecond: ten million in 80 s
    areas = [float(place % 900 + 1) for place in range(count)]
    ids = [prediction_ids.make_many(CASA.version(number), at, 1)[0] for number, at in zip(versions, stamps, strict=True)]
    columns = {
        "id": ids,
        "at": stamps,
        "brand": ["casa"] * count,
        "model": ["price"] * count,
        "version": versions,
        "served_by": ["production"] * count,
        "latency_ms": [0.25] * count,
        "request_rows": [1] * count,
        "inputs": [f'{{"Area m2":{area},"garden":true}}' for area in areas],
        "withheld": [[]] * count,
        "prediction": [None] * count,
        "value": [area * (3.0 if number == 2 else 2.0) + 10.0 for area, number in zip(areas, versions, strict=True)],
        "probabilities": [None] * count,
    }
    columns["prediction"] = [str(value) for value in columns["value"]]
    add_rows(folder, columns, f"bench-{first}")
    return ids


def replay(house: House, prediction_id: str) -> tuple[float, float]:
    """Seconds of one command: by the clock, and of processors."""
    places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | places
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([COMMAND, "replay", prediction_id, "--json"], env=environment, capture_output=True, text=True, check=False)
    taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert '"match": true' in done.stdout, done.stdout + done.stderr
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
