"""Execute a brand's notebooks from top to bottom, each in a kernel of its own; what they print is thrown away."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brandhouse_authoring.notebook_files import KERNEL, NotebookProblem, find_notebooks
from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_flows.processes import plain_environment
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.settings import Settings

CELL_SECONDS = 300
"""Longest a cell may take. Whoever opens the notebook waits as long."""

MAX_SAID = 200


def run_notebooks(brand_folder: Path, settings: Settings) -> list[NotebookProblem]:
    """Return the first problem of each notebook of a brand that does not run."""
    problems = [_run(brand_folder, path, settings) for path in find_notebooks(brand_folder)]
    return [problem for problem in problems if problem is not None]


def _run(brand_folder: Path, path: Path, settings: Settings) -> NotebookProblem | None:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    started: list[int] = []
    # No state of a user's own: profiles, start-up files and histories would make it run here and nowhere else.
    with tempfile.TemporaryDirectory(prefix="brandhouse-notebook-") as profile:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name=KERNEL,
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_execute=lambda cell, cell_index: started.append(cell_index + 1),
        )
        manager = client.create_kernel_manager()
        # Socket files of this user; ports would be open to everyone on this machine.
        manager.transport, manager.ip = "ipc", f"{profile}/kernel"
        try:
            client.execute(env=_environment(brand_folder, settings, profile), cleanup_kc=True)
        except CellExecutionError as error:
            what = f"raised {error.ename}: {_bounded(error.evalue)}"
        except CellControlSignal:
            what = f"took longer than {CELL_SECONDS} s"
        except DeadKernelError:
            what = "ended its kernel; usually too little memory"
        else:
            return None
    cell = started[-1] if started else None
    file = path.relative_to(brand_folder).as_posix()
    return NotebookProblem(
        brand_folder.name, file, cell, "notebook-runs", what, "open it, restart the kernel, run all cells, and correct it"
    )


def _environment(brand_folder: Path, settings: Settings, profile: str) -> Mapping[str, str]:
    """The plain variables, ours without secrets, and the secrets of this brand alone."""
    known = [folder.name for folder in brand_folders(brand_folder.parent)]
    ours = {
        name: value for name, value in os.environ.items() if name.startswith("BRANDHOUSE_") and not name.startswith("BRANDHOUSE_SECRET_")
    }
    return {
        **plain_environment(os.environ),
        **ours,
        **secrets_of(brand_folder.name, known, os.environ),
        "BRANDHOUSE_ROOT": str(settings.root),
        "BRANDHOUSE_HOME": str(settings.home),
        "IPYTHONDIR": profile,
    }


def _bounded(text: Any) -> str:
    return " ".join(str(text).split())[:MAX_SAID]
