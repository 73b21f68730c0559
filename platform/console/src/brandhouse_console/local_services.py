"""Store and database of the local target, on this machine, for as long as one wants them."""

import os
import signal
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from brandhouse_flows.postgres import EmbeddedPostgres
from brandhouse_flows.processes import ManagedProcess, plain_environment
from brandhouse_infra.environments import Environment, find_environment, is_this_machine
from brandhouse_infra.local.operator import ensure_operator, operator_file
from brandhouse_infra.local.seaweed import PORTS, store_command, store_environment
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.settings import Settings, load_settings

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class LocalServices:
    """SeaweedFS and PostgreSQL on the loopback addresses that an environment names. Data stay below the home."""

    def __init__(self, settings: Settings, environment: Environment) -> None:
        """Describe them, without starting anything.

        Raises:
            BrandhouseError: If the environment's store or database is not on this machine.
        """
        local = environment.local
        for address in (local.store, local.database.partition("/")[0]):
            if not is_this_machine(address):
                raise BrandhouseError(f"environment {environment.name}: {address} is not of this machine, so whoever runs it starts it")
        self._operator = ensure_operator(operator_file(settings, environment.name))
        self._folder = settings.home / "infra" / "local" / environment.name / "services"
        self._log = settings.home / "logs" / f"local-store-{environment.name}.log"
        self._store_port = urlsplit(local.store).port or 0
        self.database = EmbeddedPostgres(
            self._folder / "pg",
            settings.home / "logs" / f"local-database-{environment.name}.log",
            port=int(local.connection["port"]),
            password=self._operator.database_password,
        )
        self.store: ManagedProcess | None = None

    def start(self) -> None:
        """Start both and wait until they answer.

        Raises:
            RetryableError: If one does not come up; holds the end of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self.database.start()
        try:
            self.start_store()
        except BaseException:
            self.stop()
            raise

    def start_store(self) -> None:
        """Start the store alone."""
        folder = self._folder / "store"
        folder.mkdir(mode=0o700, exist_ok=True)
        command = store_command(folder, self._store_port, self._operator)
        environment = {**plain_environment(os.environ), **store_environment(folder)}
        self.store = ManagedProcess(command, environment, self._log, signal.SIGTERM, signal.SIGKILL)
        self.store.start()
        _wait(self.store, self._store_port)

    def stop(self) -> None:
        """Stop both; their data stay."""
        self.stop_store()
        self.database.stop()

    def stop_store(self) -> None:
        """Stop the store alone."""
        if self.store is not None:
            self.store.stop(STOP_SECONDS)
            self.store = None


def run(environment_name: str) -> None:
    """Run store and database until Ctrl-C or SIGTERM."""
    settings = load_settings()
    environment = find_environment(settings.root, environment_name)
    services = LocalServices(settings, environment)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    services.start()
    try:
        local = environment.local
        print(f"store {local.store} ({PORTS} ports), database {local.database}; operator: {operator_file(settings, environment.name)}")
        print("they run until Ctrl-C; now `brandhouse infra plan BRAND --target local` in another terminal", flush=True)
        while not ended.wait(1.0):
            if services.store is not None and not services.store.is_alive:
                raise RetryableError(f"the store ended by itself; the end of its log:\n{services.store.last_lines()}")
    finally:
        services.stop()


def _wait(process: ManagedProcess, port: int) -> None:
    """Until the store takes and lists requests: its port opens before its parts know each other."""
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.is_alive:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return  # it answers, and it wants to know who asks
        except OSError:  # not open yet
            pass
        time.sleep(0.1)
    lines = process.last_lines()
    process.stop(STOP_SECONDS)
    raise RetryableError(f"the store did not come up within {START_SECONDS:.0f} s; the end of {Path(process.log_file)}:\n{lines}")
