"""Which files of the workspace differ from where a branch began, and what was in them then. The only place that asks for a diff."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brandhouse_shared.errors import GitError

GIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Changes:
    """Files that differ between a commit and the work tree.

    Attributes:
        root: The workspace.
        commit: Where this branch left the base: changes of others on the base since then are not ours.
        files: Paths below the workspace, with slashes, sorted; renamed files are there under both names.
    """

    root: Path
    commit: str
    files: tuple[str, ...]

    def read_old(self, files: Iterable[str]) -> dict[str, bytes]:
        """Return what files held at the commit; those that it did not have are left out."""
        wanted = list(files)
        prefix = _ask(self.root, "rev-parse", "--show-prefix").strip()
        request = "".join(f"{self.commit}:{prefix}{file}\n" for file in wanted).encode()
        return dict(_parse_batch(_ask_bytes(self.root, request, "cat-file", "--batch"), wanted))


def read_changes(root: Path, base: str) -> Changes:
    """Compare the work tree, with what is not committed yet, to where it left `base`.

    Raises:
        GitError: If the workspace is no Git repository, `base` is unknown, or the history does not reach to it.
    """
    _require_repository(root)
    commit = _merge_base(root, _resolve(root, base), base)
    changed = _ask(root, "diff", "--name-only", "--no-renames", "--no-ext-diff", "--relative", "-z", commit, "--", ".")
    untracked = _ask(root, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    return Changes(root, commit, tuple(sorted({name for name in (changed + untracked).split("\0") if name})))


def _require_repository(root: Path) -> None:
    try:
        inside = _run(root, "rev-parse", "--is-inside-work-tree")
    except FileNotFoundError:
        raise GitError("git is not installed; what a change touches is read from the repository") from None
    if inside.returncode or inside.stdout.strip() != b"true":
        raise GitError(
            f"{root} is no Git repository, so there is nothing to compare with; clone the workspace, or run `git init` and commit"
        )


def _resolve(root: Path, base: str) -> str:
    found = _run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.decode().strip()
    if _is_shallow(root):
        raise GitError(f"unknown revision {base[:80]!r}, and this clone is shallow; {_DEEPEN}")
    raise GitError(f"unknown revision {base[:80]!r}; allowed: a branch, tag or commit of this repository, such as origin/main")


def _merge_base(root: Path, commit: str, base: str) -> str:
    found = _run(root, "merge-base", commit, "HEAD")
    if found.returncode == 0:
        return found.stdout.decode().strip()
    if _is_shallow(root):
        raise GitError(f"this clone is shallow and does not reach to where the branch left {base[:80]!r}; {_DEEPEN}")
    raise GitError(f"{base[:80]!r} and the work tree have no commit in common; name a branch that this one began from")


_DEEPEN = "fetch the history: `git fetch --unshallow`, or `fetch-depth: 0` of the checkout step"


def _is_shallow(root: Path) -> bool:
    return _run(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"


def _ask(root: Path, *words: str) -> str:
    return _ask_bytes(root, b"", *words).decode("utf-8", errors="surrogateescape")


def _ask_bytes(root: Path, given: bytes, *words: str) -> bytes:
    done = _run(root, *words, given=given)
    if done.returncode:
        raise GitError(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout


def _run(root: Path, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, input=given, capture_output=True, timeout=GIT_SECONDS, check=False)


def _parse_batch(answer: bytes, wanted: list[str]) -> Iterable[tuple[str, bytes]]:
    """Each object is `<hash> <type> <size>`, its bytes and a newline; or one line that ends with `missing`."""
    at = 0
    for file in wanted:
        end = answer.index(b"\n", at)
        header = answer[at:end].split(b" ")
        at = end + 1
        if header[-1] == b"missing":
            continue
        size = int(header[-1])
        yield file, answer[at : at + size]
        at += size + 1
