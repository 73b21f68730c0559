"""One of several processes of a gateway, as `supervisor` starts it. Ends with its parent, however that ends."""

import argparse
import logging
import os
import signal
import socket
from pathlib import Path

from brandhouse_serving.parent_death import end_with
from brandhouse_serving.supervisor import READY
from brandhouse_serving.worker_place import WorkerPlace


def main(arguments: list[str] | None = None) -> None:
    """Answer requests that come to the inherited socket."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s %(levelname)s %(name)s [{options.number}]: %(message)s")
    # Asked to end, not killed: what was answered is still written down.
    end_with(options.parent, signal.SIGTERM)
    from brandhouse_serving.gateway_process import serve
    from brandhouse_shared.settings import load_settings

    place = WorkerPlace(options.number, options.count, options.folder)
    listener = socket.socket(fileno=options.listener)
    serve(load_settings(), options.brands or None, listener, place, lambda models: _report(options.status, models))


def _report(status: int, models: int) -> None:
    os.write(status, b"%s %d\n" % (READY, models))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="brandhouse_serving.worker", description=__doc__)
    parser.add_argument("brands", nargs="*", metavar="BRAND")
    parser.add_argument("--number", required=True, type=int, help="place among the workers, from 0")
    parser.add_argument("--count", required=True, type=int, help="how many workers there are")
    parser.add_argument("--listener", required=True, type=int, help="descriptor of the bound socket")
    parser.add_argument("--status", required=True, type=int, help="descriptor to report on")
    parser.add_argument("--folder", required=True, type=Path, help="the gateway's own folder")
    parser.add_argument("--parent", required=True, type=int, help="process id of the parent")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
