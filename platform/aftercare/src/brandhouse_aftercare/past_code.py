"""The code of a version as it was: a work tree of Git at its commit, and what was not committed, as far as it was kept."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brandhouse_flows.planning import NO_COMMIT
from brandhouse_flows.run_details import find_details
from brandhouse_shared.errors import BrandhouseError, GitError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.settings import Settings

MODULE = "brandhouse_aftercare.rebuild_child"
MEMBERS = ("platform/aftercare", "platform/flows", "platform/serving", "shared")
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
"""Nothing else of this process's environment reaches the training: no secret of any brand, no address of a server."""


@dataclass(frozen=True, slots=True)
class PastCode:
    """A workspace as it was.

    Attributes:
        root: Of the work tree.
        remarks: In what it may not be what was trained with.
    """

    root: Path
    remarks: tuple[str, ...]

    @property
    def _sources(self) -> list[Path]:
        """The platform's own packages at that commit, if they can train again; else none, and today's are used."""
        folders = [self.root / member / "src" for member in MEMBERS]
        has_child = (self.root / "platform/aftercare/src" / MODULE.replace(".", "/")).with_suffix(".py").is_file()
        return folders if has_child else []

    def command(self) -> list[str]:
        """What trains, by this process's interpreter."""
        return [sys.executable, "-P", "-m", MODULE]

    def environment(self, settings: Settings, scratch: Path) -> dict[str, str]:
        """The variables of the training: the work tree as workspace, a home and a ledger of its own, and no secret."""
        home = scratch / "home"
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        named = {"ROOT": self.root, "HOME": home, "LEDGER_URL": f"sqlite:///{home / 'ledger.db'}", "ACTOR": settings.actor}
        return {
            **kept,
            **{f"BRANDHOUSE_{name}": str(value) for name, value in named.items()},
            "PYTHONPATH": os.pathsep.join(map(str, self._sources)),
        }


@contextmanager
def check_out(settings: Settings, ledger: Ledger, version: Version, scratch: Path) -> Iterator[PastCode]:
    """Make a work tree of a version's commit in a folder, and take it away again.

    Raises:
        GitError: If Git refuses.
        BrandhouseError: If the version was trained outside Git, and its code was not kept.
    """
    commit, root = version.record.git_commit, scratch / "code"
    sources = _kept_sources(settings, ledger, version)
    if commit == NO_COMMIT:
        if not sources:
            raise BrandhouseError(f"{version.key} was trained outside Git, and its code was not kept; it cannot be trained again")
        yield _from_sources(settings, version, root, sources)
        return
    _git(settings.root, "worktree", "add", "--detach", "--quiet", str(root), commit)
    try:
        yield PastCode(root, _overlay(root, version, sources))
    finally:
        _git(settings.root, "worktree", "remove", "--force", str(root))


def _overlay(root: Path, version: Version, sources: dict[str, str]) -> tuple[str, ...]:
    """Put what was changed and not committed over the commit's files."""
    if not version.record.git_dirty:
        return ()
    if not sources:
        return ("the work tree differed from the commit, and what differed was not kept",)
    _write(root / "brands" / version.record.key.brand, sources)
    return ("the work tree differed from the commit: the brand's own files are as they were, the platform's are the commit's",)


def _from_sources(settings: Settings, version: Version, root: Path, sources: dict[str, str]) -> PastCode:
    brand = version.record.key.brand
    _write(root / "brands" / brand, sources)
    (root / "pyproject.toml").write_text("")
    if settings.lock_file.is_file():
        (root / settings.lock_file.name).write_bytes(settings.lock_file.read_bytes())
    return PastCode(root, ("it was trained outside Git: the brand's files are as they were, lock and platform are today's",))


def _kept_sources(settings: Settings, ledger: Ledger, version: Version) -> dict[str, str]:
    """The brand's files that its run kept because the work tree differed from the commit; empty if there are none."""
    result = ledger.results(version.record.key, limit=100_000).get(version.record.run_id)
    details = None if result is None else find_details(settings.home, version.record.key, result.details_digest)
    return {} if details is None else dict(details.sources)


def _write(folder: Path, sources: dict[str, str]) -> None:
    for name, text in sources.items():
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _git(root: Path, *arguments: str) -> None:
    try:
        subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, errors="replace", timeout=300, check=True)
    except subprocess.CalledProcessError as error:
        raise GitError(f"git {arguments[0]} {arguments[1]}: {error.stderr.strip()[:300]}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(f"git {arguments[0]} {arguments[1]}: {type(error).__name__}") from error
