"""Everything on this machine: Prefect server, workers, gateway; started together, stopped in order."""

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from brandhouse_console.server_runs import stack_file
from brandhouse_flows.content import write_whole
from brandhouse_flows.processes import ManagedProcess
from brandhouse_flows.server import HOST, Database, PrefectServer
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.settings import Settings

GATEWAY_START_SECONDS = 60.0
STOP_SECONDS = 8.0


class LocalStack:
    """The parts of one machine. A context manager; all of them end with this process, even if it is killed."""

    def __init__(
        self, settings: Settings, brands: Sequence[Brand], *, host: str, port: int, prefect_port: int, database: Database = "postgres"
    ) -> None:
        self.settings = settings
        self.host = host
        self.port = port
        self.server = PrefectServer(settings, prefect_port, database)
        # Prefect reads where its server is when it is first imported, and the deployments import it.
        os.environ.update(self.server.environment)
        from brandhouse_flows.deployment_specs import SHARED_POOL, pool_of

        self.limits = {SHARED_POOL: settings.concurrent_runs} | {pool_of(brand): 1 for brand in brands if pool_of(brand) != SHARED_POOL}
        self._parts = ExitStack()
        self._processes: dict[str, ManagedProcess] = {}

    @property
    def gateway_url(self) -> str:
        """Address of the API."""
        return f"http://{self.host}:{self.port}"

    def start_server(self) -> None:
        """Start the Prefect server, and write down where it is for other commands."""
        self._parts.enter_context(self.server)
        write_whole(stack_file(self.settings), json.dumps({"prefect_port": self.server.port, "gateway": self.gateway_url}))
        self._parts.callback(stack_file(self.settings).unlink, missing_ok=True)

    def start_workers(self) -> None:
        """Start one worker a pool. They warm up by themselves; runs wait for them."""
        for pool, limit in self.limits.items():
            command = [sys.executable, "-m", "brandhouse_flows.worker", "--pool", pool, "--limit", str(limit)]
            self._start(f"worker {pool}", command, {**os.environ, **self._environment()}, f"{pool}.log")

    def start_gateway(self) -> None:
        """Start the gateway; `wait_for_gateway` says when it answers."""
        command = [sys.executable, "-m", "brandhouse_serving.main", "--host", self.host, "--port", str(self.port)]
        command += ["--workers", str(self.settings.workers)]
        self._start("gateway", command, {**os.environ, **self._environment()}, "gateway.log")

    def wait_for_gateway(self) -> None:
        """Return when the gateway answers.

        Raises:
            RetryableError: If it does not in time, with the end of its log.
        """
        gateway = self._processes["gateway"]
        deadline = time.monotonic() + GATEWAY_START_SECONDS
        while time.monotonic() < deadline and gateway.is_alive:
            try:
                with urllib.request.urlopen(f"{self.gateway_url}/readyz", timeout=2):  # noqa: S310 - an HTTP address of our own
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RetryableError(f"the gateway does not answer on {self.gateway_url}; the end of {gateway.log_file}:\n{gateway.last_lines()}")

    def dead_parts(self) -> dict[str, ManagedProcess]:
        """Processes that have ended although nobody stopped them, by name."""
        return {name: process for name, process in self._processes.items() if not process.is_alive}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Workers and gateway end side by side, while the server that they report to is still there.
        with ThreadPoolExecutor() as threads:
            for _ in threads.map(lambda process: process.stop(STOP_SECONDS), self._processes.values()):
                pass
        self._parts.close()

    def _start(self, name: str, command: list[str], environment: dict[str, str], log: str) -> None:
        process = ManagedProcess(command, environment, self.settings.home / "logs" / log, signal.SIGTERM)
        process.start()
        self._processes[name] = process

    def _environment(self) -> dict[str, str]:
        return {
            "BRANDHOUSE_ROOT": str(self.settings.root),
            "BRANDHOUSE_HOME": str(self.settings.home),
            **self.server.environment,
        }


def up(*, host: str, port: int, prefect_port: int | None, workers: int | None) -> None:
    """Keep everything running until Ctrl-C or SIGTERM; a part that dies is started again."""
    import asyncio

    from brandhouse_console.server_runs import register_all
    from brandhouse_shared.brands import discover_brands
    from brandhouse_shared.settings import load_settings

    settings = load_settings()
    settings = settings.model_copy(update={"workers": workers or settings.workers})
    brands, errors = discover_brands(settings.brands_dir)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    stop_on_sigterm()
    with LocalStack(settings, brands, host=host, port=port, prefect_port=prefect_port or settings.prefect_port) as stack:
        require_free_port(host, port)
        print("starting the Prefect server", file=sys.stderr)
        stack.start_server()
        stack.start_gateway()
        print(asyncio.run(register_all(settings, brands)))
        stack.start_workers()
        stack.wait_for_gateway()
        print_addresses(stack)
        print("Ctrl-C stops everything")
        watch(stack)


def print_addresses(stack: LocalStack) -> None:
    """Say where to look."""
    print(f"API       {stack.gateway_url}/docs")
    print(f"Prefect   {stack.server.url}")
    print(f"logs      {stack.settings.home / 'logs'}")


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that is taken, before anything is started.

    Raises:
        BrandhouseError: If something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrandhouseError(
                f"{host}:{port} cannot be bound ({error.strerror}); stop what listens there, or choose another --port"
            ) from None


def find_port(wanted: int | None, default: int) -> int:
    """Return the wanted port, or the default one if it is free, or any free one."""
    if wanted is not None:
        return wanted
    for candidate in (default, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BrandhouseError(f"no port is free on {HOST}")


def stop_on_sigterm() -> None:
    """Make SIGTERM end this process like Ctrl-C, with everything stopped in order."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # a shell that started us in the background made us ignore it


def watch(stack: LocalStack) -> None:
    """Keep the parts running until interrupted: what dies is started again."""
    while True:
        time.sleep(1.0)
        for name, process in stack.dead_parts().items():
            print(f"{name} has ended and is started again; the end of its log:\n{process.last_lines(5)}", file=sys.stderr)
            time.sleep(1.0)
            process.start()
        if not stack.server.is_alive:
            print("the Prefect server has ended and is started again", file=sys.stderr)
            stack.server.restart_process()
