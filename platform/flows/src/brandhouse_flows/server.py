"""The Prefect server of one machine: its database, its process, and how clients reach it.

Binds to loopback only; who may reach it from elsewhere is the business of a proxy in front of it.
"""

import atexit
import fcntl
import http.client
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import certifi

from brandhouse_flows.content import write_whole
from brandhouse_flows.postgres import EmbeddedPostgres
from brandhouse_flows.processes import ManagedProcess, ProcessIdentity, end_leftover, plain_environment
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.settings import Settings

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 8.0
POLL_SECONDS = 0.1

Database = Literal["postgres", "sqlite"]


class ServerStartError(BrandhouseError):
    """The Prefect server cannot start until something is changed."""


def server_environment(settings: Settings, port: int) -> dict[str, str]:
    """Variables by which Prefect clients of this machine find the server, and nothing else.

    No proxy is used for loopback: Prefect's client would ask it even for 127.0.0.1.
    """
    reached_directly = ",".join(part for part in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST, "localhost") if part)
    return {
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_API_SSL_CERT_FILE": str(_one_certificate(settings.home / "prefect" / "certificate.pem")),
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": reached_directly,
        "no_proxy": reached_directly,
    }


def _one_certificate(file: Path) -> Path:
    """Write a bundle of one certificate: each Prefect client reads the bundle, which it does not need for HTTP.

    All of them take 50 ms to read, twice in every run.
    """
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
        write_whole(file, f"{first[first.index('-----BEGIN CERTIFICATE-----') :]}{end}\n")
    return file


class PrefectServer:
    """Starts and stops the Prefect server and its database. A context manager.

    Both end with this process, even if it is killed; what a killed one left running is stopped by the next start.
    """

    def __init__(self, settings: Settings, port: int, database: Database = "postgres") -> None:
        self.port = port
        self._settings = settings
        self._folder = settings.home / "prefect"
        self._database = database
        self._lock: IO[str] | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._process: ManagedProcess | None = None

    @property
    def url(self) -> str:
        """Address of the user interface."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which clients find it."""
        return server_environment(self._settings, self.port)

    @property
    def log_file(self) -> Path:
        """Where the server writes."""
        return self._settings.home / "logs" / "prefect-server.log"

    @property
    def is_alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.is_alive

    def start(self) -> Self:
        """Start the database and the server, and wait until it answers.

        Raises:
            ServerStartError: If another process of this workspace holds the server, or the port is taken.
            RetryableError: If it does not answer in time; holds the end of its log.
        """
        self._lock = self._take_lock()
        atexit.register(self.stop)
        try:
            self._end_leftovers()
            self._check_port()
            found = {"postgres": self._start_database()}
            self._process = self._start_process()
            found["prefect"] = str(ProcessIdentity.of(self._process.pid))
            write_whole(self._folder / "processes.json", json.dumps(found))
            self._wait_until_healthy(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server, then its database. May be called twice."""
        if self._process is not None:
            self._process.stop(STOP_SECONDS)
            self._process = None
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None
        if self._lock is not None:
            (self._folder / "processes.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        atexit.unregister(self.stop)

    def kill_process(self) -> None:
        """End the server's process without warning; the database stays. For tests."""
        if self._process is not None:
            self._process.kill()

    def restart_process(self) -> None:
        """Start the server's process again after it ended; the database stays."""
        self._process = self._start_process()
        self._wait_until_healthy(self._process)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _take_lock(self) -> IO[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = (self._folder / "server.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read(60).strip() or "another process"
            lock.close()
            raise ServerStartError(f"{self._folder}: a Prefect server of this workspace already runs ({holder}); stop it first") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, port {self.port}")
        lock.flush()
        return lock

    def _end_leftovers(self) -> None:
        try:
            found = json.loads((self._folder / "processes.json").read_text())
        except (FileNotFoundError, ValueError):
            return
        end_leftover(ProcessIdentity.parse(found.get("prefect")), signal.SIGTERM, STOP_SECONDS)
        end_leftover(ProcessIdentity.parse(found.get("postgres")), signal.SIGINT, STOP_SECONDS)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                raise ServerStartError(
                    f"the Prefect server cannot listen on {HOST}:{self.port}: {error.strerror}; set BRANDHOUSE_PREFECT_PORT to a free port"
                ) from error

    def _start_database(self) -> str:
        if self._database == "sqlite":
            return ""
        self._postgres = EmbeddedPostgres(self._folder / "pg", self._settings.home / "logs" / "prefect-postgres.log")
        return str(self._postgres.start())

    def _start_process(self) -> ManagedProcess:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(self.port)]
        # Asked to stop while its database stops as well, it would wait for the database for ever; being killed does it no harm.
        process = ManagedProcess(command, self._process_environment(), self.log_file, signal.SIGTERM, orphan_signal=signal.SIGKILL)
        process.start()
        return process

    def _process_environment(self) -> dict[str, str]:
        variables = {**plain_environment(os.environ), **self.environment, "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}
        variables["PREFECT_CLI_PROMPT"] = "false"
        if self._postgres is not None:
            variables["PREFECT_API_DATABASE_CONNECTION_URL"] = self._postgres.url("asyncpg")
        return variables

    def _wait_until_healthy(self, process: ManagedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.is_alive:
            if is_healthy(self.port):
                return
            time.sleep(POLL_SECONDS)
        what = f"did not answer within {START_SECONDS:.0f} s" if process.is_alive else "ended while starting"
        raise RetryableError(f"the Prefect server {what}; the end of {self.log_file}:\n{process.last_lines()}")


def is_healthy(port: int) -> bool:
    """Whether a Prefect server answers on this port of this machine."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
