"""Processes of this machine: recognise one again, start one that ends with us, stop one for certain.

Knows the operating system only; neither Prefect nor brands.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.02
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
_LIBC = ctypes.CDLL(None, use_errno=True)

PLAIN_VARIABLES = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
PLAIN_PREFIXES = ("LC_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "OPENBLAS_", "OMP_", "MKL_", "PYTHONHASHSEED", "PYTHONWARNINGS")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of one host. A process id that was given to another process later is not this one."""

    host: str
    boot_id: str
    pid: int
    started_ticks: int
    """Start time in clock ticks since the boot, as the kernel counts."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Identify a process of this machine.

        Raises:
            ProcessLookupError: If there is none, or it has ended.
        """
        ticks = _started_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(socket.gethostname(), this_boot(), pid, ticks)

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read what `str()` wrote; None if it is not of that form."""
        parts = (text or "").split(":")
        if len(parts) != 4 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    @property
    def is_local(self) -> bool:
        """Whether it is, or was, a process of this host."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether this very process still runs. Only for local ones; a zombie has ended."""
        return self.boot_id == this_boot() and _started_ticks(self.pid) == self.started_ticks

    def __str__(self) -> str:
        return f"{self.host}:{self.boot_id}:{self.pid}:{self.started_ticks}"


@cache
def this_boot() -> str:
    """The kernel's id of the present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started_ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def signal_group(process: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal to a live process and all of its group. Nothing happens if it has ended."""
    if not process.is_alive():
        return
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:  # it has not made its own group yet
        _signal_one(process.pid, number)


def kill_leftovers(process: ProcessIdentity) -> None:
    """Kill what an ended process left behind in its group."""
    if process.boot_id == this_boot() and _started_ticks(process.pid) is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _signal_one(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def hide_from_siblings() -> None:
    """Keep other processes of the same user from reading this one's memory and environment in /proc."""
    _LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def plain_environment(source: Mapping[str, str]) -> dict[str, str]:
    """The variables that any process may see: paths, locale, certificates, threads of the numeric libraries."""
    return {
        name: value
        for name, value in source.items()
        if name in PLAIN_VARIABLES or name.startswith(PLAIN_PREFIXES) or name.lower() in PROXY_VARIABLES
    }


class ManagedProcess:
    """A process that is started and stopped by this one, and ends with it even if this one is killed."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        stop_signal: signal.Signals,
        orphan_signal: signal.Signals | None = None,
    ) -> None:
        """Describe the process, without starting it.

        Args:
            command: Program and arguments.
            environment: Its whole environment.
            log_file: Its output is appended there.
            stop_signal: What asks it to stop.
            orphan_signal: What it gets when this process has ended without stopping it; None: the same.
        """
        self.log_file = log_file
        self._command = list(command)
        self._environment = dict(environment)
        self._stop_signal = stop_signal
        self._orphan_signal = orphan_signal or stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, pass_fds: Iterable[int] = ()) -> ProcessIdentity:
        """Start it; its output is appended to the log file."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,  # Ctrl-C reaches us, and we stop the parts in order
                pass_fds=tuple(pass_fds),
                preexec_fn=_preparation(self._orphan_signal),
            )
        return ProcessIdentity.of(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process else 0

    def stop(self, grace_seconds: float) -> None:
        """Ask it to stop; kill it and its group if it has not after `grace_seconds`."""
        if self._process is None:
            return
        if self._process.poll() is None:
            _signal_one(self._process.pid, self._stop_signal)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it and its group at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, for a message."""
        try:
            with self.log_file.open(encoding="utf-8", errors="replace") as lines:
                return "".join(deque(lines, count)).strip()
        except FileNotFoundError:
            return ""


def _preparation(orphan_signal: signal.Signals) -> Callable[[], None]:
    # The kernel's notice is bound to the starting thread, so only the main thread may ask for it.
    dies_with_parent = sys.platform == "linux" and threading.current_thread() is threading.main_thread()

    def prepare() -> None:
        # A shell that started us in the background made us ignore SIGINT, and ignoring is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if dies_with_parent:
            _LIBC.prctl(PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)

    return prepare


def end_leftover(process: ProcessIdentity | None, number: signal.Signals, grace_seconds: float) -> None:
    """Stop a process that an earlier, killed one of us left running."""
    if process is None or not process.is_local or not process.is_alive():
        return
    _signal_one(process.pid, number)
    deadline = time.monotonic() + grace_seconds
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if process.is_alive():
        signal_group(process, signal.SIGKILL)
