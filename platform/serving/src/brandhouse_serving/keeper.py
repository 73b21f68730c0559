"""The keeper: the process beside a gateway that turns journals into Parquet and deletes what has expired.

One is started by each gateway (`keeper_process`) and ends with it, in whatever way that ends: its standard input is a
pipe that nobody else holds. By hand: `python -m brandhouse_serving.keeper --once`, for a machine without a gateway.
"""

import argparse
import gc
import importlib.abc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from brandhouse_serving import conversion, journal, labels
from brandhouse_shared.errors import BrandhouseError

FIRST_PAUSE_SECONDS = 2.0
"""The gateway comes first: its own start has the processor for so long."""

SHORTEST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
WORK_SHARE = 0.05
"""Of one processor. What takes longer is done less often, and then costs less a row; journals are read meanwhile."""

EXPIRE_SECONDS = 3600.0
"""How often days are looked for that have expired."""

LAST_SECONDS = 5.0
"""So long after the gateway's end its workers may still write."""

NICENESS = 15

logger = logging.getLogger(__name__)


class Keeper:
    """What is done again and again."""

    def __init__(self, home: Path, brands_dir: Path, wait: Callable[[float], bool]) -> None:
        """`wait` takes seconds and returns earlier, with True, when the gateway has ended."""
        self._home = home
        self._brands_dir = brands_dir
        self._wait = wait
        self._expire_at = 0.0
        self._has_adopted = False

    def run(self) -> None:
        """Keep until the gateway ends, then convert the rest."""
        pause, is_first = FIRST_PAUSE_SECONDS, True
        while not self._wait(pause):
            started = time.process_time()
            self.look()
            # The first look also imports what it needs, once.
            spent = 0.0 if is_first else time.process_time() - started
            pause, is_first = min(LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, spent / WORK_SHARE)), False
        deadline = time.monotonic() + LAST_SECONDS
        while journal.has_open_segments(self._home) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._convert()

    def look(self) -> None:
        """Convert what is there, and delete what has expired if an hour has passed. A failing disk is tried again later."""
        self._convert()
        if time.monotonic() >= self._expire_at:
            self._expire_at = time.monotonic() + EXPIRE_SECONDS
            self._expire()
        gc.collect()

    def _convert(self) -> None:
        try:
            if not self._has_adopted:
                labels.adopt_all_earlier(self._home)
                conversion.adopt_earlier_records(self._home)
                self._has_adopted = True
            conversion.convert_all(self._home)
        except OSError as error:
            logger.error("answers stay in journals for now: %s", error)

    def _expire(self) -> None:
        from brandhouse_serving.retention import expire_all

        try:
            expire_all(self._home, self._brands_dir, datetime.now(UTC).date())
        except OSError as error:
            logger.error("expired days cannot be deleted: %s", error)


def main(arguments: list[str] | None = None) -> None:
    """Run beside a gateway until standard input ends, or once."""
    parser = argparse.ArgumentParser(prog="brandhouse_serving.keeper", description=__doc__)
    parser.add_argument("--home", type=Path, help="where local state lies; default: BRANDHOUSE_HOME or .brandhouse")
    parser.add_argument("--brands-dir", type=Path, help="the folder of the brands; default: that of the workspace")
    parser.add_argument("--once", action="store_true", help="convert and delete what is there now, and end")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(NICENESS)
    try:
        home, brands_dir = _places(options)
    except BrandhouseError as error:
        sys.exit(f"error: {error}")
    _spare_memory()
    if options.once:
        Keeper(home, brands_dir, lambda _: True).look()
        return
    # It ends with the gateway, which may be answering still when both are sent the signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    Keeper(home, brands_dir, _GatewayWatch().wait).run()


class _GatewayWatch:
    """Notices the gateway's end: its end of the pipe is closed, or it is no longer the parent."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def wait(self, seconds: float) -> bool:
        """Wait; return True as soon as the gateway has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([sys.stdin], [], [], min(left, 1.0))
            if readable or os.getppid() != self._parent:
                return True
        return False


def _places(options: argparse.Namespace) -> tuple[Path, Path]:
    if options.home and options.brands_dir:
        return options.home, options.brands_dir
    from brandhouse_shared.settings import load_settings

    settings = load_settings()
    return options.home or settings.home, options.brands_dir or settings.brands_dir


def _spare_memory() -> None:
    """One thread, and memory that goes back to the system: a gateway's machine has better uses for both."""
    gc.disable()  # rows are lists that wait to be written and no garbage: going through them costs as much as all the rest
    # Read by pyarrow when it is imported, which is only done when there is something to convert.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_IO_THREADS", "1")
    sys.meta_path.insert(0, _WithoutPandas())


class _WithoutPandas(importlib.abc.MetaPathFinder):
    """Refuses pandas, which pyarrow takes along where it is installed: a second of work and 50 MB for nothing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(f"{fullname} is not used in this process", name=fullname)


if __name__ == "__main__":
    main()
