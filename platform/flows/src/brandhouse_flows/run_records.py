"""What this machine knows about each flow run: its process, and how it ended.

A small file per run, written by the run's own process before it tells the server. It is the truth when the server was
away, and it outlives the process and the worker.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from brandhouse_flows.content import write_whole
from brandhouse_flows.processes import ProcessIdentity

KEEP_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class FinalState:
    """How a run ended, in Prefect's words."""

    type: str
    name: str
    message: str
    retry_after_seconds: float | None = None
    """Set where the failure is a passing one: how long to wait before another attempt."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One execution of one flow run on this machine."""

    flow_run_id: str
    process: ProcessIdentity
    started_at: float
    """Seconds since the epoch."""
    final: FinalState | None = None
    is_reported: bool = False
    """Whether the server has accepted the final state."""

    def as_document(self) -> dict[str, Any]:
        """Plain values for the file."""
        return {**asdict(self), "process": str(self.process)}

    @classmethod
    def from_document(cls, document: Any) -> Self | None:
        """Read plain values; None if they are not of this form."""
        if not isinstance(document, dict):
            return None
        process = ProcessIdentity.parse(str(document.get("process")))
        try:
            final = FinalState(**document["final"]) if document["final"] else None
            return None if process is None else cls(**{**document, "process": process, "final": final})
        except (KeyError, TypeError):
            return None


class RunRecords:
    """The records below one `home`, and the temporary folders of the runs."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "runs"

    def read(self, flow_run_id: object) -> RunRecord | None:
        """The record of a run; None if this machine has none that can be read."""
        try:
            return RunRecord.from_document(json.loads(self._path(flow_run_id).read_text()))
        except (FileNotFoundError, ValueError):
            return None

    def write(self, record: RunRecord) -> None:
        """Replace the record as a whole."""
        write_whole(self._path(record.flow_run_id), json.dumps(record.as_document()))

    def change(self, flow_run_id: object, **changes: Any) -> None:
        """Change fields of a record, if there is one."""
        record = self.read(flow_run_id)
        if record is not None:
            self.write(replace(record, **changes))

    def forget(self, flow_run_id: object) -> None:
        """Remove a run's record and its cancellation, before it is executed anew."""
        for path in (self._path(flow_run_id), self._cancellation(flow_run_id), self._exit(flow_run_id)):
            path.unlink(missing_ok=True)

    def ask_to_cancel(self, flow_run_id: object) -> None:
        """Note that the signal which follows means: the user cancelled."""
        write_whole(self._cancellation(flow_run_id), "")

    def is_asked_to_cancel(self, flow_run_id: object) -> bool:
        """Whether the user cancelled the run."""
        return self._cancellation(flow_run_id).exists()

    def note_exit(self, flow_run_id: object, note: str) -> None:
        """Note how the process ended, as its parent saw it: `exit code 0`, `signal 9 (SIGKILL)`."""
        write_whole(self._exit(flow_run_id), note)

    def read_exit(self, flow_run_id: object) -> str:
        """How the process ended; empty if its parent has not seen it."""
        try:
            return self._exit(flow_run_id).read_text()
        except FileNotFoundError:
            return ""

    def lock_file(self, flow_run_id: object) -> Path:
        """Held by the process that executes the run."""
        return self.folder / f"{flow_run_id}.lock"

    def work_dir(self, flow_run_id: object) -> Path:
        """The run's temporary folder."""
        return self.folder / f"{flow_run_id}.work"

    def prune(self, older_than_days: float = KEEP_DAYS) -> int:
        """Remove records whose run ended long ago; return how many files."""
        limit = time.time() - older_than_days * 86_400
        stale = [path for path in self._files() if _changed_at(path) < limit]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _files(self) -> Iterator[Path]:
        for pattern in ("*.json", "*.lock", "*.cancel", "*.exit"):
            yield from self.folder.glob(pattern)

    def _path(self, flow_run_id: object) -> Path:
        return self.folder / f"{flow_run_id}.json"

    def _exit(self, flow_run_id: object) -> Path:
        return self.folder / f"{flow_run_id}.exit"

    def _cancellation(self, flow_run_id: object) -> Path:
        return self.folder / f"{flow_run_id}.cancel"


def _changed_at(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()
