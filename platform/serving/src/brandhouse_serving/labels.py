"""Where labels lie, one file of JSON lines a model and day of the prediction: `<brand>/<model>/_labels/<day>.jsonl`."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from brandhouse_serving.durable_files import append_durably, make_private_folder
from brandhouse_shared.names import ModelKey

FOLDER = "_labels"
"""The underscore keeps it out of the sight of whoever reads the Parquet files beside it."""


def labels_file(home: Path, key: ModelKey, day: str) -> Path:
    """The file of the labels of one day's predictions."""
    return home / "predictions" / key.brand / key.model / FOLDER / f"{day}.jsonl"


def read_labels(path: Path, position: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each label from a position in the file on, with the position after it. A line torn by a kill is passed over."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
        lines.seek(position)
        for line in lines:
            if line.endswith(b"\n"):
                position += len(line)
                yield orjson.loads(line), position


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a labels' file: of all who write to it, one at a time."""
    make_private_folder(path.parent)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def adopt_earlier(home: Path, key: ModelKey, day: str) -> None:
    """Move a day's labels from where an earlier release kept them, beside the answers. A prediction keeps its first label."""
    old = home / "predictions" / key.brand / key.model / day / "labels" / "labels.jsonl"
    if not old.exists():
        return
    path = labels_file(home, key, day)
    with locked(path):
        known = {label["id"] for label, _ in read_labels(path)}
        moved = [orjson.dumps(label) + b"\n" for label, _ in read_labels(old) if label["id"] not in known]
        append_durably(path, b"".join(moved))
        shutil.rmtree(old.parent, ignore_errors=True)  # another process may be moving them too: it finds them known


def adopt_all_earlier(home: Path) -> None:
    """Move all labels of an earlier release."""
    for folder in sorted((home / "predictions").glob("*/*/????-??-??/labels")):
        brand, model, day = folder.parts[-4:-1]
        adopt_earlier(home, ModelKey(brand, model), day)
