"""The template of a brand folder as content: which files, and the name by which Git can give them back later.

A template's digest is the hash of Git's tree of its files, computed here, so that it is known without Git. That makes the
history of the repository the archive of all templates a brand was ever made from: `git archive DIGEST` is the base of a
three-way merge. A template that is not committed yet is kept under a ref of its own, so that Git does not throw it away.
"""

import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from brandhouse_shared.errors import BrandhouseError, join_bounded

TEMPLATE_FOLDER = "templates/brand"
"""Below the workspace, outside `brands/`, so that nothing that looks for brands has to skip it."""

KEPT_REF = "refs/brandhouse/templates"
"""Where a template is kept that brands were made from before it was committed."""

_IGNORED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
_GIT_SECONDS = 30


class TemplateError(BrandhouseError):
    """The template is missing, cannot be rendered, or an older one cannot be found again."""


@dataclass(frozen=True)
class Template:
    """One state of the template folder.

    Attributes:
        files: Path below the folder (with `/`) to content.
        executable: Those of the paths that may be executed; Git records nothing else of a file's mode.
    """

    files: Mapping[str, bytes]
    executable: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> str:
        """Hash of Git's tree of these files."""
        return _hash_tree(self._nested()).hex()

    def modes(self) -> dict[str, str]:
        """Git's mode of each file."""
        return {path: "100755" if path in self.executable else "100644" for path in self.files}

    def _nested(self) -> dict[str, Any]:
        root: dict[str, Any] = {}
        modes = self.modes()
        for path, content in self.files.items():
            *folders, name = path.split("/")
            inner = root
            for folder in folders:
                inner = inner.setdefault(folder, {})
            inner[name] = (modes[path], _hash_object("blob", content))
        return root


def read_template(root: Path) -> Template:
    """Read the workspace's template as it is now, committed or not.

    Raises:
        TemplateError: If there is none.
    """
    folder = root / TEMPLATE_FOLDER
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _IGNORED & set(path.parts)]
    if not paths:
        raise TemplateError(f"{folder} holds no template; restore it from Git (git restore {TEMPLATE_FOLDER})")
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    executable = frozenset(names[path] for path in paths if os.access(path, os.X_OK))
    return Template({names[path]: path.read_bytes() for path in paths}, executable)


def find_template(root: Path, digest: str) -> Template:
    """Return the template of that digest: the present one, or one from Git.

    Raises:
        TemplateError: If neither the folder nor Git holds it.
    """
    present = read_template(root)
    if present.digest == digest:
        return present
    done = _git(root, "archive", "--format=tar", digest)
    if done.returncode:
        raise TemplateError(
            f"the template {digest[:12]} that the brand was made from is neither in {TEMPLATE_FOLDER} nor in this clone's history; fetch "
            f"it (`git fetch --unshallow`, or `git fetch ORIGIN '{KEPT_REF}/*:{KEPT_REF}/*'` from the machine that made the brand), or "
            "start anew from today's template with --adopt"
        )
    return _read_archive(done.stdout)


def keep_template(root: Path, template: Template) -> bool:
    """See to it that Git can give this template back later; return whether it can (False: the workspace is in no Repository).

    A committed template is in the history already. Any other is written as objects and held by a ref, through an index of
    its own: what a user has staged is never touched.

    Raises:
        TemplateError: If Git refuses, or the folder changed meanwhile.
    """
    if _text(_git(root, "rev-parse", "--verify", "--quiet", f"HEAD:./{TEMPLATE_FOLDER}")) == template.digest:
        return True
    if _git(root, "rev-parse", "--git-dir").returncode:
        return False
    found = _write_tree(root, template)
    if found != template.digest:
        raise TemplateError(f"{TEMPLATE_FOLDER} changed while it was read; run the command again")
    _require(_git(root, "update-ref", f"{KEPT_REF}/{found}", found))
    return True


def _write_tree(root: Path, template: Template) -> str:
    folder, modes = (root / TEMPLATE_FOLDER).resolve(), template.modes()
    listed = "".join(f"{folder / path}\n" for path in template.files).encode()
    hashes = _text(_require(_git(root, "hash-object", "-w", "--no-filters", "--stdin-paths", given=listed))).split()
    entries = "".join(f"{modes[path]} {blob}\t{path}\n" for path, blob in zip(template.files, hashes, strict=True)).encode()
    with tempfile.TemporaryDirectory(prefix="brandhouse-index-") as place:
        index = {"GIT_INDEX_FILE": str(Path(place) / "index")}
        _require(_git(root, "update-index", "--index-info", given=entries, extra=index))
        return _text(_require(_git(root, "write-tree", extra=index)))


def _read_archive(content: bytes) -> Template:
    files, executable = {}, set()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                files[member.name] = stream.read()
                if member.mode & 0o100:
                    executable.add(member.name)
    return Template(files, frozenset(executable))


def _hash_tree(nested: Mapping[str, Any]) -> bytes:
    def entry(name: str, item: Any) -> tuple[bytes, bytes]:
        # Git orders a folder as if its name ended in a slash.
        if isinstance(item, dict):
            return f"{name}/".encode(), f"40000 {name}\0".encode() + _hash_tree(item)
        mode, digest = item
        return name.encode(), f"{mode} {name}\0".encode() + digest

    return _hash_object("tree", b"".join(line for _, line in sorted(entry(name, item) for name, item in nested.items())))


def _hash_object(kind: str, content: bytes) -> bytes:
    # Git's name of content, not a defence against forgery.
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).digest()


def _git(
    root: Path, *words: str, given: bytes | None = None, extra: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    # A hook's environment names the repository it runs in; these calls mean the workspace's.
    inherited = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}}
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(
            command, input=given, capture_output=True, timeout=_GIT_SECONDS, check=False, env={**inherited, **(extra or {})}
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, b"", b"git is not installed")
    except subprocess.TimeoutExpired as error:
        raise TemplateError(f"git {words[0]} did not answer within {_GIT_SECONDS} s; look for a lock in the repository") from error


def _require(done: "subprocess.CompletedProcess[bytes]") -> "subprocess.CompletedProcess[bytes]":
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise TemplateError(f"the template could not be kept in Git: {join_bounded(said[-1:])}; look at the repository with `git fsck`")
    return done


def _text(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stdout.decode().strip()
