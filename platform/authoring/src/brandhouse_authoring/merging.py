"""Three-way merge of rendered folders: what the template changed meets what the brand changed, file by file.

Works on content in memory and writes nothing. Text is merged by `git merge-file`; a notebook cell by cell, so that it stays
a notebook even in conflict; bytes that are no text are never mixed.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from brandhouse_shared.errors import BrandhouseError

OURS, BASE, THEIRS = "this brand", "template before", "template now"
Change = Literal["added", "changed", "removed", "conflict", "kept"]
Content = bytes | None
"""None: there is no such file."""


class MergeError(BrandhouseError):
    """Git could not merge."""


@dataclass(frozen=True, slots=True)
class MergedFile:
    """What becomes of one file.

    Attributes:
        path: Below the brand's folder.
        change: kept means that the template changed, and the brand's own decision (an edit, a removal) stays.
        before: The brand's content now.
        after: What to write; None to remove it, or to leave it absent.
        note: One sentence for people, where the change does not speak for itself.
    """

    path: str
    change: Change
    before: Content
    after: Content
    note: str = ""

    @property
    def is_written(self) -> bool:
        """Whether the folder changes."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Merge:
    """All files that the template's change touches.

    Attributes:
        files: By path; a file that neither changed in the template nor conflicts is not listed.
    """

    files: tuple[MergedFile, ...] = field(default_factory=tuple)

    @property
    def conflicts(self) -> list[MergedFile]:
        """Files that hold both sides, marked."""
        return [file for file in self.files if file.change == "conflict"]

    @property
    def written(self) -> list[MergedFile]:
        """Files that would be written or removed."""
        return [file for file in self.files if file.is_written]


def merge_folders(base: Mapping[str, bytes], theirs: Mapping[str, bytes], ours: Mapping[str, bytes]) -> Merge:
    """Merge what changed from `base` to `theirs` into `ours`; what only `ours` has or changed stays."""
    changed = sorted(path for path in base.keys() | theirs.keys() if base.get(path) != theirs.get(path))
    merged = [_merge_path(path, base.get(path), theirs.get(path), ours.get(path)) for path in changed]
    return Merge(tuple(file for file in merged if file is not None))


def _merge_path(path: str, base: Content, theirs: Content, ours: Content) -> MergedFile | None:
    if ours == theirs:
        return None
    if ours == base:
        change: Change = "added" if ours is None else "removed" if theirs is None else "changed"
        return MergedFile(path, change, ours, theirs)
    if ours is None:
        return MergedFile(path, "kept", None, None, "removed by the brand; it stays removed")
    if theirs is None:
        return MergedFile(path, "kept", ours, ours, "gone from the template; the brand edited it, so it stays")
    return _merge_contents(path, base or b"", theirs, ours)


def _merge_contents(path: str, base: bytes, theirs: bytes, ours: bytes) -> MergedFile:
    if _is_binary(base) or _is_binary(theirs) or _is_binary(ours):
        return MergedFile(path, "kept", ours, ours, "no text: the brand's file stays; compare it with the template's by hand")
    content, has_conflict = _merge_notebooks(base, theirs, ours) if path.endswith(".ipynb") else merge_texts(base, theirs, ours)
    if has_conflict:
        return MergedFile(path, "conflict", ours, content, "brand and template changed the same lines")
    return MergedFile(path, "changed", ours, content) if content != ours else MergedFile(path, "kept", ours, ours, "edited by the brand")


def merge_texts(base: bytes, theirs: bytes, ours: bytes) -> tuple[bytes, bool]:
    """Merge three texts line by line; return the result and whether it holds conflict markers.

    Raises:
        MergeError: If Git is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="brandhouse-merge-") as folder:
        paths = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for path, content in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(content)
        labels = [word for label in (OURS, BASE, THEIRS) for word in ("-L", label)]
        command = ["git", "merge-file", "-p", "--diff3", *labels, *map(str, paths)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MergeError(f"git merge-file cannot be run ({type(error).__name__}); install git") from error
    if done.returncode < 0 or done.returncode > 127:  # up to 127 it is the number of conflicts
        raise MergeError(f"git merge-file failed: {done.stderr.decode(errors='replace')[:300]}")
    return done.stdout, done.returncode > 0


def _is_binary(content: bytes) -> bool:
    try:
        return "\0" in content.decode("utf-8")
    except UnicodeDecodeError:
        return True


# -- notebooks -------------------------------------------------------------------------------------------------------


def _merge_notebooks(base: bytes, theirs: bytes, ours: bytes) -> tuple[bytes, bool]:
    """Merge by the cells' ids: each cell's source as a text of its own. Outputs in the brand's copy stay as they are."""
    try:
        before, template, brand = (_read_notebook(content) for content in (base, theirs, ours))
    except (ValueError, KeyError, TypeError):  # no notebook, or one whose cells have no ids: lines are all there is
        return merge_texts(base, theirs, ours)
    merged: dict[str, dict[str, Any]] = {}
    has_conflict = False
    for key, cell in brand.cells.items():
        kept, conflicts = _merge_cell(before.cells.get(key), template.cells.get(key), cell)
        has_conflict |= conflicts
        if kept is not None:
            merged[key] = kept
    order = _insert_new(list(merged), [key for key in template.cells if key not in before.cells], list(template.cells))
    cells = [merged.get(key) or template.cells[key] for key in order]
    document = {**brand.document, "cells": cells}
    return _write_notebook(document), has_conflict


@dataclass(frozen=True, slots=True)
class _Notebook:
    document: dict[str, Any]
    cells: dict[str, dict[str, Any]]


def _read_notebook(content: bytes) -> _Notebook:
    document = json.loads(content) if content else {"cells": []}
    cells = {str(cell["id"]): cell for cell in document["cells"]}
    if len(cells) != len(document["cells"]):
        raise ValueError("two cells have one id")
    return _Notebook(document, cells)


def _write_notebook(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _merge_cell(base: dict[str, Any] | None, theirs: dict[str, Any] | None, ours: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """The brand's cell with the template's change in it; None if the template removed a cell that the brand had left as it was."""
    if base is None and theirs is None:
        return ours, False
    if theirs is None:
        return (None, False) if _source(ours) == _source(base) else (ours, False)
    source, has_conflict = merge_texts(_source(base), _source(theirs), _source(ours))
    if source == _source(ours):
        return ours, False
    return {**ours, "source": source.decode().removesuffix("\n").splitlines(keepends=True)}, has_conflict


def _source(cell: dict[str, Any] | None) -> bytes:
    """A cell's source, ended by a newline, so that its last line is one like the others."""
    if cell is None:
        return b""
    source = cell["source"]
    return (source if isinstance(source, str) else "".join(source)).encode() + b"\n"


def _insert_new(order: list[str], new: list[str], template_order: list[str]) -> list[str]:
    """Put each new cell of the template after the nearest cell that stands before it there."""
    for key in new:
        if key in order:
            continue
        before = template_order[: template_order.index(key)]
        at = next((order.index(other) + 1 for other in reversed(before) if other in order), 0)
        order.insert(at, key)
    return order
