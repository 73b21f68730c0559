"""The committed `.dvc` file of a dataset: the hash of its snapshot, and how far the source had been read when it was made.

One small file, replaced whole: hash and position can never disagree, however a process ends. That is what makes a stream
or a topic arrive exactly once.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brandhouse_flows.content import write_whole
from brandhouse_shared.errors import DatasetError

HASH = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the committed `.dvc` file names.

    Attributes:
        hash_md5: Of the snapshot.
        size_bytes: Of the snapshot.
        position: What the source said of these bytes (an ETag, offsets, names of batches); empty where it says nothing.
    """

    hash_md5: str
    size_bytes: int
    position: Mapping[str, Any] = field(default_factory=dict)


def read_pointer(path: Path, subject: str) -> Pointer:
    """Read a pointer.

    Raises:
        DatasetError: If there is none, or it is not one file's pointer.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        (out,) = document["outs"]
        pointer = Pointer(str(out["md5"]), int(out["size"]), dict((document.get("meta") or {}).get("position") or {}))
    except FileNotFoundError as error:
        raise DatasetError(f"{subject}: no pointer {path.name}; make it with `brandhouse ingest`") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{subject}: {path.name} is no pointer to one file; restore it from Git") from error
    check_hash(pointer.hash_md5, subject)
    return pointer


def write_pointer(path: Path, file: str, pointer: Pointer) -> None:
    """Write a pointer to the file of that name beside it, and keep Git from the file itself."""
    ignore = path.parent / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    if f"/{file}" not in lines:
        write_whole(ignore, "".join(f"{line}\n" for line in [*lines, f"/{file}"]))
    text = f"outs:\n- md5: {pointer.hash_md5}\n  size: {pointer.size_bytes}\n  hash: md5\n  path: {_yaml_text(file)}\n"
    if pointer.position:  # JSON is YAML, and `meta` is what DVC leaves alone
        text += f"meta:\n  position: {json.dumps(pointer.position, sort_keys=True)}\n"
    write_whole(path, text)


def check_hash(hash_md5: str, subject: str) -> None:
    """Refuse what is no hash before it becomes part of a path."""
    if not HASH.fullmatch(hash_md5):
        raise DatasetError(f"{subject}: {hash_md5[:40]!r} is no snapshot hash; allowed: 32 hexadecimal digits")


def _yaml_text(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) else json.dumps(name, ensure_ascii=False)
