"""When commits were made, asked of Git in one go."""

import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HEAD = re.compile(rb"^([0-9a-f]{40}) commit \d+$", re.MULTILINE)
_COMMITTER = re.compile(rb"^committer .* (\d+) [+-]\d{4}$", re.MULTILINE)


def read_commit_times(root: Path, commits: Iterable[str]) -> dict[str, datetime]:
    """Return the time of each commit that Git knows; what it does not know, or is no commit, is left out."""
    wanted = sorted({commit for commit in commits if _COMMIT.fullmatch(commit)})
    if not wanted:
        return {}
    command = ["git", "-C", str(root), "cat-file", "--batch"]
    try:
        done = subprocess.run(command, input="\n".join(wanted).encode(), capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(_read(done.stdout))


def _read(output: bytes) -> Iterable[tuple[str, datetime]]:
    heads = list(_HEAD.finditer(output))
    ends = [one.start() for one in heads]
    for head, end in zip(heads, [*ends[1:], len(output)], strict=False):
        committer = _COMMITTER.search(output, head.end(), end)
        if committer:
            yield head[1].decode(), datetime.fromtimestamp(int(committer[1]), UTC)
