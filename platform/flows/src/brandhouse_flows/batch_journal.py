"""The work folder beside an output: what is being scored, which parts are done, and who works on it.

A part counts once its line is in the journal, and the line is written after the part is on the disk. So a process may end at
any moment: what comes after goes on with the row behind the last line, and no row is missing or double.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from brandhouse_flows.content import disk_full_named, write_whole
from brandhouse_shared.errors import BrandhouseError, join_bounded

JOB_FILE = "job.json"
JOURNAL_FILE = "journal.jsonl"
LOCK_FILE = "lock"

NAMED_ALIKE = {
    "version": "the version",
    "artifact_digest": "the version's artifact",
    "input_sha256": "the bytes of the input",
    "columns": "the columns that are kept",
    "reading": "how the input is read",
}
"""What must be as it was for a scoring to go on, and how a message calls it."""


class ScoringBusyError(BrandhouseError):
    """Another process writes the same output."""


class OtherScoringError(BrandhouseError):
    """Under this output's name something else was begun."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is being scored into one output.

    Attributes:
        run_id: Of the run in the ledger; the same after a crash.
        version: `brand/model/v7`.
        reading: Separator and encoding of a CSV input.
        alone: Whether rows are asked one by one.
        output_sha256: Of the finished file, once it is put together.
    """

    run_id: str
    version: str
    artifact_digest: str
    input_sha256: str
    input_bytes: int
    columns: tuple[str, ...]
    reading: tuple[str, str]
    alone: bool
    output_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows that are scored and on the disk.

    Attributes:
        number: From 1, without gaps.
        first: Number of its first row in the input, from 0.
        size_bytes: Of its file.
    """

    number: int
    first: int
    rows: int
    refused: int
    failed: int
    size_bytes: int

    @property
    def end(self) -> int:
        """Number of the row behind its last."""
        return self.first + self.rows


class WorkFolder:
    """One output's work folder, held by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = self._read_job()
        self.parts = self._read_parts()

    @property
    def next_row(self) -> int:
        """Number of the first row that is not done."""
        return self.parts[-1].end if self.parts else 0

    def part_path(self, number: int, ending: str) -> Path:
        """Where a part is written."""
        return self.path / f"part-{number:06d}{ending}"

    def begin(self, job: Job) -> None:
        """Note what is scored, from the first row on."""
        self.discard()
        self.write_job(job)

    def write_job(self, job: Job) -> None:
        """Note what is scored; what is done stays."""
        write_whole(self.path / JOB_FILE, json.dumps(asdict(job)))
        self.job = job

    def commit(self, part: Part, file: Path) -> None:
        """Make a written part count."""
        with disk_full_named(file):
            sync(file)
            sync(self.path)
            with (self.path / JOURNAL_FILE).open("ab") as journal:
                journal.write(json.dumps(asdict(part)).encode() + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        self.parts.append(part)

    def discard(self) -> None:
        """Forget everything that is done."""
        for file in self.path.iterdir():
            if file.name != LOCK_FILE:
                file.unlink()
        self.job, self.parts = None, []

    def remove(self) -> None:
        """Remove the folder; for when the output is in place."""
        shutil.rmtree(self.path)

    def _read_job(self) -> Job | None:
        try:
            document = json.loads((self.path / JOB_FILE).read_bytes())
        except FileNotFoundError:
            return None
        return Job(**{**document, "columns": tuple(document["columns"]), "reading": tuple(document["reading"])})

    def _read_parts(self) -> list[Part]:
        """Read the journal up to a line that a crash cut off, and cut it there."""
        file = self.path / JOURNAL_FILE
        whole = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
        if file.exists():
            os.truncate(file, len(whole) + bool(whole))
        return [Part(**json.loads(line)) for line in whole.splitlines()]


@contextmanager
def held_work_folder(output: Path) -> Iterator[WorkFolder]:
    """Hold the work folder of an output, new or left behind by a process that ended.

    Raises:
        ScoringBusyError: If another process holds it.
        DiskFullError: If it cannot be made.
    """
    path = output.parent / f".{output.name}.scoring"
    with _locked(path, output):
        yield WorkFolder(path)


@contextmanager
def _locked(path: Path, output: Path) -> Iterator[None]:
    while True:
        with disk_full_named(path):
            path.mkdir(exist_ok=True, mode=0o700)
            descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ScoringBusyError(f"{output}: another process is scoring into this file; wait for it or choose another name") from None
            if _is_present(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_present(path: Path, descriptor: int) -> bool:
    """Whether the lock's file is still in place: whoever finished in between has removed the folder."""
    try:
        return (path / LOCK_FILE).stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def check_alike(begun: Job, wanted: Job, output: Path) -> None:
    """Refuse to go on with something else than was begun.

    Raises:
        OtherScoringError: Naming what differs.
    """
    differing = [what for name, what in NAMED_ALIKE.items() if getattr(begun, name) != getattr(wanted, name)]
    if differing:
        number = begun.version.rpartition("/")[2]
        raise OtherScoringError(
            f"{output}: a scoring with {begun.version} was begun under this name; {join_bounded(differing)} differ now; finish it as it "
            f"was begun (--version {number}), choose another name, or begin anew with --restart"
        )


def sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
