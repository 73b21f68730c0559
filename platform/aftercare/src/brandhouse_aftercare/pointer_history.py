"""What Git's history says of a dataset's pointer: the hashes that it ever named, and a commit of what it names now."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from brandhouse_flows.content import exclusive

_HASH = re.compile(r"^[+-]\s*-?\s*md5: ([0-9a-f]{32})\s*$", re.MULTILINE)
LOCK_WAIT_SECONDS = 60.0


def past_hashes(root: Path, pointer: Path) -> list[str]:
    """Hashes that a pointer named in any commit of any branch, newest first; none outside Git."""
    done = _git(root, "log", "--all", "--format=", "--patch", "--", str(pointer))
    return list(dict.fromkeys(_HASH.findall(done.stdout))) if done is not None and done.returncode == 0 else []


def commit_pointers(root: Path, home: Path, pointers: Sequence[Path], message: str, author: str) -> str:
    """Commit these files and no other change; return what came of it, in a few words.

    One process at a time does this. Where Git refuses, the files stay changed for a person to commit.
    """
    with exclusive(home / "locks" / "git.lock", LOCK_WAIT_SECONDS):
        tracked = [path for path in pointers if (done := _git(root, "ls-files", "--error-unmatch", str(path))) and done.returncode == 0]
        if not tracked:
            return "not under Git, nothing to commit"
        unchanged = _git(root, "diff", "--quiet", "HEAD", "--", *map(str, tracked))
        if unchanged is not None and unchanged.returncode == 0:
            return "committed already"
        identity = ("-c", f"user.name={author}", "-c", f"user.email={author}@brandhouse.invalid")
        done = _git(root, *identity, "commit", "--quiet", "--only", "--message", message, "--", *map(str, tracked))
        if done is None or done.returncode != 0:
            return "not committed: Git refused; commit the changed pointers yourself"
        head = _git(root, "rev-parse", "HEAD")
        return f"committed as {head.stdout.strip()[:12]}" if head is not None else "committed"


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
