"""The template's later changes reach a brand's folder: a three-way merge that is looked at first and written as a whole.

base is the template as it was when the folder was rendered, with the folder's answers; theirs is the template now, with the
same answers; ours is the folder. What the brand changed stays. How texts are merged is in `merging`, and which brands are
upgraded in which order in `rings`.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brandhouse_authoring.answers import ANSWERS_FILE, Answers, answer_from_brand, read_answers
from brandhouse_authoring.merging import Content, Merge, MergedFile, merge_folders
from brandhouse_authoring.rendering import render
from brandhouse_authoring.template import find_template, keep_template, read_template
from brandhouse_flows.content import disk_full_named, exclusive
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import BrandhouseError, UnknownBrandError
from brandhouse_shared.settings import Settings

ADOPTED_FILES = ("notebooks/explore.ipynb", "pyproject.toml")
"""Of a folder that a person wrote, the files that follow the template: they are alike in all brands. Declaration, code, tests
and README are the brand's own words; merging a template into them would yield nothing but conflicts."""

_LOCK_SECONDS = 10


class UpgradeError(BrandhouseError):
    """A brand's folder could not be upgraded; it is as it was."""


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade of one brand would do.

    Attributes:
        brand: Name of the brand.
        folder: Its folder.
        base: Digest of the template that the folder was made from.
        answers: What the answers file will say.
        merge: The files.
    """

    brand: str
    folder: Path
    base: str
    answers: Answers
    merge: Merge

    @property
    def is_current(self) -> bool:
        """Whether the folder is at today's template."""
        return self.base == self.answers.template

    def diff(self) -> str:
        """What would be written, as a unified diff."""
        return "".join(line for file in self.merge.written for line in _diff(self.brand, file))


def plan_upgrade(settings: Settings, name: str, *, folder: Path | None = None) -> Upgrade:
    """Merge the template's changes into a brand's folder, in memory.

    Args:
        settings: Of this process.
        name: The brand.
        folder: Where its files are; by default among the brands.

    Raises:
        UnknownBrandError: If there is no such folder.
        AnswersError: If it is not known what the folder was made from.
        TemplateError: If the template, or the one of that time, is missing or cannot be rendered.
        MergeError: If Git cannot merge.
    """
    folder = folder or _find_folder(settings, name)
    answers = read_answers(folder)
    template = read_template(settings.root)
    if answers.template == template.digest:
        return Upgrade(name, folder, answers.template, answers, Merge())
    base = render(find_template(settings.root, answers.template), answers.values)
    theirs = render(template, answers.values)
    if answers.managed is not None:
        kept = set(answers.managed) | (theirs.keys() - base.keys())
        base, theirs = _only(base, kept), _only(theirs, kept)
    ours = {path: content for path in base.keys() | theirs.keys() if (content := _read(folder, path)) is not None}
    return Upgrade(name, folder, answers.template, answers.at(template.digest), merge_folders(base, theirs, ours))


def write_upgrade(settings: Settings, upgrade: Upgrade) -> None:
    """Write what was planned: all files, then the answers file; if one cannot be written, those before it are put back.

    A process that is killed half-way leaves the old answers file: the same upgrade, run again, finds its own changes and
    completes them.

    Raises:
        UpgradeError: If a file changed since it was planned, or another process upgrades the brand.
        DiskFullError: If there is no space.
    """
    with _only_one(settings, upgrade.brand):
        keep_template(settings.root, read_template(settings.root))
        answers = MergedFile(ANSWERS_FILE, "changed", _read(upgrade.folder, ANSWERS_FILE), upgrade.answers.as_text().encode())
        _write_all(upgrade, [*upgrade.merge.written, answers])


def undo_upgrade(upgrade: Upgrade, answers_before: bytes) -> None:
    """Put a folder back that `write_upgrade` wrote; what a person changed since is overwritten.

    Args:
        upgrade: What was written.
        answers_before: Content of its answers file before.
    """
    for file in [*upgrade.merge.written, MergedFile(ANSWERS_FILE, "changed", answers_before, None)]:
        _put(upgrade.folder / file.path, file.before)


def adopt(settings: Settings, name: str) -> Answers:
    """Write the answers file of a folder that a person wrote: from now on the template's changes reach it.

    Raises:
        UnknownBrandError, BrandConfigError: If there is no such brand, or it cannot be read.
        UpgradeError: If the folder has an answers file already.
        TemplateError: If the template is missing or cannot be rendered for this brand.
    """
    brand = find_brand(settings.brands_dir, name)
    if (brand.folder / ANSWERS_FILE).exists():
        raise UpgradeError(f"{name}: the folder has a {ANSWERS_FILE} already; `brandhouse upgrade {name}` merges by it")
    template = read_template(settings.root)
    values = answer_from_brand(brand)
    rendered = render(template, values)
    answers = Answers(template.digest, values, tuple(path for path in ADOPTED_FILES if path in rendered))
    with _only_one(settings, name):
        keep_template(settings.root, template)
        _put(brand.folder / ANSWERS_FILE, answers.as_text().encode())
    return answers


def _find_folder(settings: Settings, name: str) -> Path:
    folder = settings.brands_dir / name
    if not (folder / "brand.toml").is_file():
        raise UnknownBrandError(name, sorted(path.parent.name for path in settings.brands_dir.glob("*/brand.toml")))
    return folder


def _only(files: Mapping[str, bytes], kept: set[str]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path in kept}


def _read(folder: Path, path: str) -> Content:
    """A file's content, None if it is not there."""
    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UpgradeError(f"{folder.name}: {path} leads out of the brand's folder; replace the symbolic link by a file")
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise UpgradeError(f"{folder.name}: {path} is a folder, and a file in the template; rename it") from error


# -- writing ---------------------------------------------------------------------------------------------------------


def _write_all(upgrade: Upgrade, files: list[MergedFile]) -> None:
    changed = [file.path for file in files if _read(upgrade.folder, file.path) != file.before]
    if changed:
        raise UpgradeError(f"{upgrade.brand}: {', '.join(changed)} changed meanwhile; nothing was written, run the command again")
    written = []
    try:
        with disk_full_named(upgrade.folder):
            for file in files:
                written.append(file)
                _put(upgrade.folder / file.path, file.after)
    except BaseException:
        for file in written:
            _put(upgrade.folder / file.path, file.before)
        raise


def _put(path: Path, content: Content) -> None:
    """Write a file so that a reader sees the old or the new one; None removes it."""
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_name(f".{path.name}.upgrade-{os.getpid()}")
    try:
        arriving.write_bytes(content)
        if path.exists():
            arriving.chmod(path.stat().st_mode & 0o777)
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)


@contextmanager
def _only_one(settings: Settings, name: str) -> Iterator[None]:
    try:
        with exclusive(settings.home / "locks" / f"upgrade-{name}.lock", _LOCK_SECONDS):
            yield
    except TimeoutError as error:
        raise UpgradeError(f"{name}: another process upgrades this brand; wait for it") from error


def _diff(brand: str, file: MergedFile) -> Iterator[str]:
    try:
        before, after = ((content or b"").decode("utf-8").splitlines(keepends=True) for content in (file.before, file.after))
    except UnicodeDecodeError:
        yield f"brands/{brand}/{file.path}: no text, {len(file.after or b'')} bytes\n"
        return
    path = f"brands/{brand}/{file.path}"
    old = "/dev/null" if file.before is None else f"a/{path}"
    new = "/dev/null" if file.after is None else f"b/{path}"
    for line in difflib.unified_diff(before, after, old, new):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
