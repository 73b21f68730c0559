"""What the prediction log costs: processor time a request, bytes a row, and a look-up by id.

    python benchmarks/bench_prediction_log.py

Processor time is that of the whole process, the writing threads included, less that of the same work without the log.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from brandhouse_serving import prediction_ids
from brandhouse_serving.conversion import convert_all
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_serving.prediction_records import find_record
from brandhouse_shared.names import ModelKey

VERSION = ModelKey("autoplein", "price").version(7)
NUMBERS, TEXTS = [f"number_{place}" for place in range(6)], [f"text_{place}" for place in range(4)]
RULES = {
    "plain": LogRule(True, (*NUMBERS, *TEXTS), (), ()),
    "1 hashed, 1 dropped": LogRule(True, (*NUMBERS, *TEXTS[:2]), (TEXTS[2],), (TEXTS[3],)),
    "not stored": LogRule(False, (*NUMBERS, *TEXTS), (), ()),
}
ROUNDS = 5


def main() -> None:
    for name, rule in RULES.items():
        for rows, requests in ((1, 20_000), (32, 1_000)):
            with tempfile.TemporaryDirectory() as folder:
                microseconds = cost_of(Path(folder), rule, rows, requests)
            print(f"{name:20} {rows:3} rows a request: {microseconds:6.2f} us a request, {microseconds / rows:5.2f} us a row")
    with tempfile.TemporaryDirectory() as folder:
        measure_files(Path(folder), 50_000)


def cost_of(home: Path, rule: LogRule, rows: int, requests: int) -> float:
    """Microseconds of processor time a request, the least of some rounds."""
    body = orjson.dumps([build_row() for _ in range(rows)])
    ids = prediction_ids.make_many(VERSION, 1_795_000_000_000, rows)
    log = JournaledPredictionLog(home)

    def answer(append: Callable[[Answer], None]) -> float:
        started = time.process_time()
        for _ in range(requests):
            append(Answer(VERSION, ids, orjson.loads(body), ["yes"] * rows, [[0.2, 0.8]] * rows, 0, 1.25, "production", rule))
        log.flush()
        return (time.process_time() - started) / requests * 1e6

    with_log = min(answer(log.append) for _ in range(ROUNDS))
    without = min(answer(lambda _: None) for _ in range(ROUNDS))
    log.close()
    return with_log - without


def measure_files(home: Path, requests: int) -> None:
    """Bytes a row before and after the conversion, its processor time, and that of a look-up."""
    log, ids = JournaledPredictionLog(home), []
    for second in range(requests):
        at_ms = 1_795_000_000_000 + 1_000 * second
        ids += prediction_ids.make_many(VERSION, at_ms, 1)
        share = random.random()
        log.append(Answer(VERSION, ids[-1:], [build_row()], ["yes"], [[share, 1 - share]], at_ms, share, "production", RULES["plain"]))
    log.close()
    print(f"journal: {size_of(home, '*.jsonl') / requests:.0f} bytes a row; look-up {look_up(home, ids):.1f} ms")
    started = time.process_time()
    convert_all(home)
    print(f"conversion: {(time.process_time() - started) / requests * 1e6:.1f} us a row")
    print(f"Parquet: {size_of(home, '*.parquet') / requests:.0f} bytes a row; look-up {look_up(home, ids):.1f} ms")


def build_row() -> dict[str, Any]:
    return {name: round(random.gauss(100, 30), 2) for name in NUMBERS} | {name: f"value {random.randrange(9)}" for name in TEXTS}


def size_of(home: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in home.rglob(pattern))


def look_up(home: Path, ids: list[str]) -> float:
    """Milliseconds of processor time to find one answer by its id."""
    chosen = random.sample(ids, 20)
    started = time.process_time()
    found = [find_record(home, identifier) for identifier in chosen]
    if None in found:
        raise SystemExit("an answer was not found")
    return (time.process_time() - started) / len(chosen) * 1e3


if __name__ == "__main__":
    main()
