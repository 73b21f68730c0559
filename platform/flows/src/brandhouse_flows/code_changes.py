"""What differs in a brand's code and in the installed packages between two runs, and how that is known.

Git tells it for committed code. Of a run in a changed work tree the files were kept on the machine that ran it; where
they are not to be had, only the digests can be compared, and that is said.
"""

import difflib
import hashlib
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from brandhouse_flows.experiments import Experiment
from brandhouse_flows.run_details import RunDetails
from brandhouse_shared.brands import Brand
from brandhouse_shared.settings import Settings

MAX_DIFF_LINES = 400
GIT_SECONDS = 10
_COMMIT = re.compile(r"^[0-9a-f]{7,64}$")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class CodeChange:
    """How the code of two runs differs.

    Attributes:
        summary: One sentence.
        diff: Unified diff of declaration and Python files; empty if equal or unknown.
        same: None if it cannot be known.
    """

    summary: str
    diff: str = ""
    same: bool | None = None


@dataclass(frozen=True)
class LockChange:
    """How the packages of two runs differ.

    Attributes:
        summary: One sentence.
        packages: Name to versions before and after; None where the package was not there.
        same: None if it cannot be known.
    """

    summary: str
    packages: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    same: bool | None = None


def compare_code(
    settings: Settings, brand: Brand, before: Experiment, after: Experiment, kept: tuple[RunDetails | None, RunDetails | None]
) -> CodeChange:
    """Compare declaration and code of a brand between two runs.

    Args:
        settings: Where the workspace is.
        brand: Whose runs they are; only its folder is read.
        before: The older run, or the one compared with.
        after: The other.
        kept: Details of both; they hold the files of a run in a changed work tree.
    """
    texts = [_read_sources(settings, brand, one, details) for one, details in zip((before, after), kept, strict=True)]
    if texts[0] is None or texts[1] is None:
        return _by_digest(before, after, [one for one, text in zip((before, after), texts, strict=True) if text is None])
    diff = _unified(texts[0], texts[1], before.label, after.label)
    how = " and ".join(dict.fromkeys(f"{one.label} {_how(one)}" for one in (before, after)))
    if not diff:
        return CodeChange(f"the same brand.toml and Python files ({how})", same=True)
    files = sum(texts[0].get(name) != texts[1].get(name) for name in texts[0].keys() | texts[1].keys())
    return CodeChange(f"{files} file(s) of the brand differ ({how})", diff, same=False)


def _how(one: Experiment) -> str:
    commit = one.run.record.git_commit[:10] if _COMMIT.fullmatch(one.run.record.git_commit) else "no commit"
    return f"with uncommitted changes on {commit}, kept by its run" if one.git_dirty else f"as committed in {commit}"


def _by_digest(before: Experiment, after: Experiment, unread: list[Experiment]) -> CodeChange:
    why = ", ".join(
        f"{one.label} had uncommitted changes and its files are not on this machine"
        if one.git_dirty
        else f"{one.label}: no such commit here"
        for one in unread
    )
    if before.code_digest is None or after.code_digest is None:
        return CodeChange(f"not known: {why}, and no digest was kept")
    same = before.code_digest == after.code_digest
    found = "the same Python files by their digest; brand.toml cannot be compared" if same else "the Python files differ by their digest"
    return CodeChange(f"{found} ({why})", same=None if same else False)


def _read_sources(settings: Settings, brand: Brand, one: Experiment, details: RunDetails | None) -> Mapping[str, str] | None:
    if details is not None and details.sources:
        return details.sources
    commit = one.run.record.git_commit
    if one.git_dirty is not False or not _COMMIT.fullmatch(commit):
        return None
    source = brand.source_dir.relative_to(brand.folder).as_posix()
    folder = brand.folder.relative_to(settings.root).as_posix()
    listed = _git(settings, "ls-tree", "-r", "--name-only", "-z", commit, "--", f"{folder}/brand.toml", f"{folder}/{source}")
    if not listed:
        return None
    names = [name for name in listed.split("\0") if name.endswith((".py", "brand.toml"))]
    texts = {name.removeprefix(f"{folder}/"): _git(settings, "show", f"{commit}:./{name}") for name in names}
    return {name: text for name, text in texts.items() if text is not None}


def _unified(before: Mapping[str, str], after: Mapping[str, str], old: str, new: str) -> str:
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        one, two = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        lines += difflib.unified_diff(one, two, f"{old}/{name}", f"{new}/{name}", lineterm="")
    rest = len(lines) - MAX_DIFF_LINES
    return "\n".join([*lines[:MAX_DIFF_LINES], *([f"... and {rest} more lines"] if rest > 0 else [])])


def compare_locks(settings: Settings, before: Experiment, after: Experiment) -> LockChange:
    """Compare the packages that two runs were locked to."""
    if before.lock_hash is None or after.lock_hash is None:
        return LockChange("not known: a run of an older release kept no hash of its lock")
    if before.lock_hash == after.lock_hash:
        return LockChange("the same packages", same=True)
    texts = [_read_lock(settings, one) for one in (before, after)]
    if texts[0] is None or texts[1] is None:
        return LockChange("other packages: the hashes of the locks differ, and Git does not have both of them", same=False)
    old, new = dict(_PIN.findall(texts[0])), dict(_PIN.findall(texts[1]))
    changed = {name: (old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)}
    return LockChange(f"{len(changed)} package(s) differ", changed, same=False)


def _read_lock(settings: Settings, one: Experiment) -> str | None:
    """The lock of a run, if the present file or the committed one is it."""
    name, commit = settings.lock_file.name, one.run.record.git_commit
    present = settings.lock_file.read_text(encoding="utf-8") if settings.lock_file.is_file() else None
    committed = _git(settings, "show", f"{commit}:./{name}") if _COMMIT.fullmatch(commit) else None
    for text in (present, committed):
        if text is not None and hashlib.sha256(text.encode()).hexdigest() == one.lock_hash:
            return text
    return None


def _git(settings: Settings, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(settings.root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
