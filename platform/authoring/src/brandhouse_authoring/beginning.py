"""Write a new brand's folder: whole, checked, with its data, or not at all.

Everything is made in a folder beside the brands (`unfinished`), and becomes a brand by one rename. What a failure, Ctrl-C
or even `kill -9` leaves behind, in the folder or in the brand's cache and remote, is removed: at once, or by the next
command of the kind. Everything is checked before the ledger is told, which only ever adds: if the very last steps fail,
its line about the snapshot stays. It holds a hash and no data.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_authoring.answers import ANSWERS_FILE, Answers
from brandhouse_authoring.rendering import render
from brandhouse_authoring.template import keep_template, read_template
from brandhouse_authoring.unfinished import unfinished_folder
from brandhouse_flows.content import disk_full_named, exclusive
from brandhouse_shared.brands import Brand, read_brand, unload_brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.names import check_name
from brandhouse_shared.settings import Settings


class BeginningError(BrandhouseError):
    """A brand folder could not be begun; nothing was left behind."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A new brand.

    Attributes:
        brand: Read from its folder.
        files: Paths below it, without its data.
        is_template_kept: Whether Git can give the template back for a later upgrade.
        has_predecessor: Whether the ledger knows versions or API keys of an earlier brand of this name. They are this one's now.
    """

    brand: Brand
    files: tuple[str, ...]
    is_template_kept: bool
    has_predecessor: bool


def refuse_taken(settings: Settings, name: str) -> None:
    """Refuse a name that is no name, or that a brand has, before any work.

    Raises:
        InvalidNameError: If it is no identifier.
        BeginningError: If there is something of that name.
    """
    check_name("brand", name)
    folder = settings.brands_dir / name
    if folder.exists() or folder.is_symlink():
        raise BeginningError(
            f"{name}: {folder} exists already, and nothing is overwritten; choose another name, or remove the folder if it is not needed"
        )


def begin_brand(settings: Settings, values: Mapping[str, Any], table: Path, ledger: Ledger) -> Begun:
    """Render a brand's folder, check it, bring its data in, and put it among the brands.

    Args:
        settings: Of this process.
        values: Answers, as `brandhouse_authoring.answers` makes them.
        table: The file that becomes the dataset's first snapshot. Only read.
        ledger: Where the snapshot is recorded.

    Raises:
        BeginningError: If the name is taken, or the folder would not pass `brandhouse check`.
        TemplateError: If the template is missing or cannot be rendered.
        DatasetError, ContractViolationError: If the table does not become a snapshot that fits the declaration.
        RetryableError: If the disk is full or the data project is locked.
    """
    name = str(values["brand"])
    with _only_one(settings, name):
        refuse_taken(settings, name)
        template = read_template(settings.root)
        is_kept = keep_template(settings.root, template)
        answers = Answers(template.digest, values)
        files = render(template, values) | {ANSWERS_FILE: answers.as_text().encode()}
        with unfinished_folder(settings, name, is_new=True) as folder:
            _write_files(folder, files)
            _fill(settings, folder, str(values["dataset"]), table, ledger)
            _rename(folder, settings.brands_dir / name)
    brand = read_brand(settings.brands_dir / name)
    has_predecessor = any(ledger.versions(key) for key in brand.model_keys) or bool(ledger.keys(name))
    return Begun(brand, tuple(sorted(files)), is_kept, has_predecessor)


def _fill(settings: Settings, folder: Path, dataset: str, table: Path, ledger: Ledger) -> None:
    """Bring the data in, if every model can learn from them; then check the folder as `check` does."""
    from brandhouse_flows.acceptance import require_learnable
    from brandhouse_flows.data_project import DataProject, Snapshot
    from brandhouse_flows.datasets import read_table
    from brandhouse_flows.snapshot_records import record_snapshot
    from brandhouse_flows.uploads import take_upload

    brand = read_brand(folder)
    declared = brand.config.datasets[dataset]
    if declared.source.kind == "upload":
        take_upload(settings, brand, dataset, table, ledger, lambda arrived, rows: require_learnable(brand, arrived, rows))
    else:  # the rows that were looked at are those that are taken: a second query might give others
        arrived = Snapshot(dataset, declared.file, "", table.stat().st_size, table, changed=True)
        require_learnable(brand, arrived, read_table(declared, table))
        record_snapshot(ledger, brand, DataProject(brand, settings).put(dataset, table))
    _require_good(settings, folder)


def _require_good(settings: Settings, folder: Path) -> None:
    from brandhouse_flows.inspection import inspect_folder

    try:
        problems = [problem for problem in inspect_folder(folder, settings) if problem.severity == "error"]
    finally:
        unload_brand(folder.name)
    if problems:
        lines = "".join(f"\n  - {problem.where}: {problem.what}" for problem in problems[:10])
        raise BeginningError(
            f"{folder.name}: the folder would not pass `brandhouse check`, so it was not written:{lines}\n"
            "  this is a fault of the template or of what was inferred; report it with the table's columns"
        )


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    with disk_full_named(folder):
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)  # one step: it is a brand, or it is not
    except OSError as error:
        raise BeginningError(f"{target.name}: {target} could not be made ({error.strerror}); nothing was left behind") from error


@contextmanager
def _only_one(settings: Settings, name: str) -> Iterator[None]:
    try:
        with exclusive(settings.home / "locks" / f"new-{name}.lock", wait_seconds=0):
            yield
    except TimeoutError as error:
        raise BeginningError(f"{name}: another process is making this brand; wait for it") from error
