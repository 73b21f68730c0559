"""The gateway as a command: `brandhouse serve` and `python -m brandhouse_serving.main`."""

import argparse
import errno
import logging
import socket
import sys
from collections.abc import Collection

from brandhouse_serving.keeper_process import running_keeper
from brandhouse_serving.worker_place import WorkerPlace, gateway_folder
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, load_settings


class PortTakenError(BrandhouseError):
    """The address to listen on is in use."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {detail}; stop what listens there, or choose another with --port")


def run(
    settings: Settings, brands: Collection[str] | None = None, host: str = "127.0.0.1", port: int = 8080, workers: int | None = None
) -> None:
    """Serve until SIGTERM or Ctrl-C. Prints one line when requests are answered.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None or none: all that have a folder.
        host: Address to listen on; the default is reachable from this machine only.
        port: Port to listen on; 0 chooses a free one.
        workers: How many processes answer; None: as the settings say. One is this process itself.

    Raises:
        PortTakenError: If another process listens there.
    """
    count = workers or settings.workers
    with _listen(host, port) as listener, gateway_folder(settings.home) as folder, running_keeper(settings):
        if count == 1:
            from brandhouse_serving.gateway_process import serve

            serve(settings, brands or None, listener, WorkerPlace(0, 1, folder), lambda models: _announce(listener, models, ""))
        else:
            from brandhouse_serving.supervisor import Supervisor

            supervisor = Supervisor(settings, brands or [], listener, folder, count)
            supervisor.run(lambda models: _announce(listener, models, f" with {count} processes"))


def _announce(listener: socket.socket, models: int, by: str) -> None:
    host, port = listener.getsockname()[:2]
    sys.stdout.write(f"Brandhouse serves {models} {'model' if models == 1 else 'models'} on http://{host}:{port}{by}\n")
    sys.stdout.flush()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        detail = "the port is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise PortTakenError(host, port, detail) from error
    return listener


def main(arguments: list[str] | None = None) -> None:
    """Run the gateway with the settings of the environment."""
    parser = argparse.ArgumentParser(prog="brandhouse_serving.main", description=__doc__)
    parser.add_argument("brands", nargs="*", metavar="BRAND")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8080, type=int)
    parser.add_argument("--workers", default=None, type=int, help="processes that answer; default: BRANDHOUSE_WORKERS, or 1")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(load_settings(), options.brands, options.host, options.port, options.workers)
    except BrandhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
