"""`brandhouse notebook`: do the brands' notebooks keep to the rules, do they run, and how outputs are taken out."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from brandhouse_authoring.notebook_files import NotebookProblem, check_notebooks, clean_notebooks, clean_text, find_notebooks
from brandhouse_console.output import print_json
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import BrandhouseError, UnknownBrandError
from brandhouse_shared.settings import Settings, load_settings

FILTER = "brandhouse-notebook"
"""Named by `.gitattributes` for the brands' notebooks."""


def check(names: Sequence[str], *, run: bool, as_json: bool) -> None:
    """Print the problems of the named brands' notebooks, or of all; exit status 1 if there are any."""
    settings = load_settings()
    folders = _chosen(settings, names)
    problems = [problem for folder in folders for problem in _problems_of(folder, settings, run=run)]
    if as_json:
        print_json([problem.as_document() for problem in problems])
    else:
        for problem in problems:
            where = f"{problem.file}, cell {problem.cell}" if problem.cell else problem.file
            print(f"{problem.brand}: {where}: {problem.what} ({problem.rule})\n    {problem.fix}")
        count = sum(len(find_notebooks(folder)) for folder in folders)
        print(f"{count} notebook(s) {'executed' if run else 'checked'}, {len(problems)} problem(s)")
    if problems:
        sys.exit(1)


def _problems_of(folder: Path, settings: Settings, *, run: bool) -> list[NotebookProblem]:
    """Problems that can be read; a notebook without any is also executed if that is asked."""
    found = check_notebooks(folder)
    if not run or any(problem.rule != "notebook-outputs" for problem in found):
        return found
    from brandhouse_authoring.notebook_runs import run_notebooks

    return found + run_notebooks(folder, settings)


def clean(names: Sequence[str], *, as_json: bool) -> None:
    """Take outputs out of the named brands' notebooks, or of all."""
    settings = load_settings()
    changed = [path.relative_to(settings.root).as_posix() for folder in _chosen(settings, names) for path in clean_notebooks(folder)]
    if as_json:
        print_json(changed)
        return
    for path in changed:
        print(path)
    print(f"{len(changed)} notebook(s) cleaned")


def clean_stream() -> None:
    """Clean the notebook on standard input: what Git's filter calls. What is no notebook passes as it is."""
    text = sys.stdin.buffer.read().decode("utf-8")
    try:
        text = clean_text(text)
    except ValueError:
        print("brandhouse: not a notebook, staged as it is", file=sys.stderr)
    sys.stdout.buffer.write(text.encode())


def install_filter() -> None:
    """Make Git leave outputs out of what is staged in this clone.

    Raises:
        BrandhouseError: If the workspace is no Git repository.
    """
    root = load_settings().root
    command = f"{shlex.quote(sys.executable)} -m brandhouse_console notebook clean --stream"
    for name, value in (("clean", command), ("smudge", "cat"), ("required", "false")):
        done = subprocess.run(
            ["git", "-C", str(root), "config", "--local", f"filter.{FILTER}.{name}", value], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BrandhouseError(f"{root}: git config failed: {done.stderr.strip()[:200]}; the filter needs a Git repository")
    print("from now on, git add leaves outputs of brands/*/notebooks out; your files keep them")


def _chosen(settings: Settings, names: Sequence[str]) -> list[Path]:
    folders = {folder.name: folder for folder in brand_folders(settings.brands_dir)}
    unknown = [name for name in names if name not in folders]
    if unknown:
        raise UnknownBrandError(unknown[0], list(folders))
    return [folders[name] for name in names or folders]
