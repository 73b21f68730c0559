"""The gateway as a process: `brandhouse serve` and `python -m brandhouse_serving.main`."""

import argparse
import errno
import logging
import signal
import socket
import sys
from collections.abc import Collection

import uvicorn

from brandhouse_serving.gateway import create_app
from brandhouse_serving.lane import PredictLane
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, load_settings

GRACE_SECONDS = 3
"""How long running requests may take to end after SIGTERM; together with the rest a stop takes less than 5 s."""


class PortTakenError(BrandhouseError):
    """The address to listen on is in use."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {detail}; stop what listens there, or choose another with --port")


def run(settings: Settings, brands: Collection[str] | None = None, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve until SIGTERM or Ctrl-C. Prints one line when requests are answered.

    Args:
        settings: Where this process runs.
        brands: Names of the brands to serve; None or none: all that have a folder.
        host: Address to listen on; the default is reachable from this machine only.
        port: Port to listen on; 0 chooses a free one.

    Raises:
        PortTakenError: If another process listens there.
    """
    listener = _listen(host, port)
    gateway = create_app(settings, brands or None)
    config = uvicorn.Config(
        gateway,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # uvicorn raises the signal again after its clean stop; a clean stop shall be exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = _AnnouncingServer(config, gateway)
    server.run(sockets=[listener])
    if not server.started:
        raise BrandhouseError("the gateway could not start; the reason is above")


class _AnnouncingServer(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, gateway: PredictLane) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            count = self._gateway.model_count
            sys.stdout.write(f"Brandhouse serves {count} {'model' if count == 1 else 'models'} on http://{host}:{port}\n")
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
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(load_settings(), options.brands, options.host, options.port)
    except BrandhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
