"""Labels as they were handed in, day by day of the answers they are about: a million of them in a second.

Arrow reads a day's file at once. A file in which something is odd (a torn line, a label of another kind, one twice) is read
again line by line, so that what is odd can be counted. A prediction keeps its first label.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from brandhouse_serving.labels import FOLDER
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Oddities:
    """What label files hold against their rules, beside the answers. Grows while they are read.

    Attributes:
        repeated: Further labels of a prediction that has one.
        contradicting: Those of them that say something else.
        torn: Lines that cannot be read.
    """

    repeated: int = 0
    contradicting: int = 0
    torn: int = 0


@dataclass(frozen=True)
class DayLabels:
    """The labels of one day's answers.

    Attributes:
        ids: Each once.
        truth: Numbers, or places in `Manifest.classes`; NaN: no class of the model, or no number.
        at_ms: When each came in.
    """

    ids: "pa.Array"
    truth: NDArray[np.float64]
    at_ms: NDArray[np.int64]

    def before(self, end_ms: int) -> "DayLabels":
        """Those that came in before some time."""
        kept = self.at_ms < end_ms
        if kept.all():
            return self
        return DayLabels(self.ids.filter(kept), self.truth[kept], self.at_ms[kept])


def read_given(home: Path, key: ModelKey, manifest: Manifest, first_day: str, last_day: str) -> tuple[dict[str, DayLabels], Oddities]:
    """Read the labels of the answers of some days, both included, by day."""
    odd = Oddities()
    folder = home / "predictions" / key.brand / key.model / FOLDER
    files = [path for path in sorted(folder.glob("????-??-??.jsonl")) if first_day <= path.stem <= last_day]
    return {path.stem: _read_day(path, manifest, odd) for path in files}, odd


def _read_day(path: Path, manifest: Manifest, odd: Oddities) -> DayLabels:
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]  # the last line may be being written
    return _read_at_once(whole, manifest) or _read_line_by_line(whole, manifest, odd)


def _read_at_once(text: bytes, manifest: Manifest) -> DayLabels | None:
    """None: something is odd."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json

    if not text:
        return None
    names = pa.schema([("id", pa.string()), ("label", _arrow_type(manifest)), ("at", pa.string())])
    parsing = pa.json.ParseOptions(explicit_schema=names, unexpected_field_behavior="ignore")
    reading = pa.json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    try:
        table = pa.json.read_json(pa.BufferReader(text), reading, parsing).combine_chunks()
        at = pc.cast(pc.cast(table["at"], pa.timestamp("ms", "UTC")), pa.int64())
    except (pa.ArrowException, ValueError):
        return None
    if table.num_rows != text.count(b"\n") or any(table[name].null_count for name in names.names):
        return None
    ids = table["id"].combine_chunks()
    if pc.count_distinct(ids).as_py() != len(ids):
        return None
    return DayLabels(ids, _truth(table["label"], manifest), np.asarray(at.to_numpy()))


def _arrow_type(manifest: Manifest) -> "pa.DataType":
    import pyarrow as pa

    if manifest.task is Task.REGRESSION:
        return pa.float64()
    return pa.int64() if all(isinstance(name, int) for name in manifest.classes) else pa.string()


def _truth(labels: "pa.ChunkedArray", manifest: Manifest) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if manifest.task is Task.REGRESSION:
        numbers: NDArray[np.float64] = labels.to_numpy()
        return np.where(np.isfinite(numbers), numbers, np.nan)
    classes = pa.array(list(manifest.classes), labels.type)
    return np.asarray(pc.cast(pc.index_in(labels, value_set=classes), pa.float64()).fill_null(math.nan).to_numpy())


@dataclass
class _Lines:
    """What has been read of a file."""

    given: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def add(self, line: bytes, odd: Oddities) -> None:
        try:
            record = orjson.loads(line)
            identifier, label = record["id"], record["label"]
            at_ms = round(datetime.fromisoformat(record["at"]).timestamp() * 1000)
            known = self.given.get(identifier)
        except (ValueError, TypeError, KeyError):
            odd.torn += 1
            return
        if known is None:
            self.given[identifier] = (label, at_ms)
        else:
            odd.repeated += 1
            odd.contradicting += known[0] != label


def _read_line_by_line(text: bytes, manifest: Manifest, odd: Oddities) -> DayLabels:
    import pyarrow as pa

    lines = _Lines()
    for line in text.splitlines():
        lines.add(line, odd)
    encode = _encoder(manifest)
    truth = np.array([encode(label) for label, _ in lines.given.values()], dtype=np.float64)
    return DayLabels(pa.array(list(lines.given), pa.string()), truth, np.array([at for _, at in lines.given.values()], dtype=np.int64))


def _encoder(manifest: Manifest) -> Callable[[Any], float]:
    """From a label to its number, as the feedback call understands labels; NaN for what it would have refused."""
    if manifest.task is Task.REGRESSION:
        return lambda label: float(label) if type(label) in (int, float) and math.isfinite(label) else math.nan
    codes: dict[tuple[type, Any], float] = {(type(name), name): float(code) for code, name in enumerate(manifest.classes)}
    return lambda label: codes.get((type(label), label), math.nan) if isinstance(label, str | int | float) else math.nan
