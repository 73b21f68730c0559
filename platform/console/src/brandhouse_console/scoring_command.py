"""`score`: a file through one version, here in this process or through the Prefect server."""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json
from brandhouse_console.targets import find_model
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey, VersionKey
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_flows.batch_wishes import Progress, Scored

SHOW_SECONDS = 0.5
"""Between two looks of a terminal at the progress."""

LINE_SECONDS = 10.0
"""The same where every look is a line of a log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command, as typed."""

    version: str | None = None
    keep: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None
    strict: bool = False
    restart: bool = False
    overwrite: bool = False
    chunk_rows: int | None = None


def score(target: str, *, source: Path, output: Path, server: bool, asked: Asked, as_json: bool) -> None:
    """Score a file and say how it went; exit status 1 if the version could not answer a row that fits the schema.

    Args:
        target: `BRAND/MODEL`.
        source: File to score.
        output: File to write.
        server: Run through the Prefect server instead of here.
        asked: The options.
        as_json: Print one object instead of a sentence.
    """
    settings = load_settings()
    brand, key = find_model(settings, target)
    if server:
        _print_run(asyncio.run(_score_on_server(settings, key, source, output, asked)), as_json)
        return
    scored = _score_here(settings, brand, key, source, output, asked, silent=as_json)
    print_json(_document(scored)) if as_json else _print_scored(scored)
    if scored.failed:
        sys.exit(1)


def _score_here(settings: Settings, brand: Brand, key: ModelKey, source: Path, output: Path, asked: Asked, *, silent: bool) -> "Scored":
    from brandhouse_flows.batch_scoring import score_file
    from brandhouse_flows.batch_wishes import Wish
    from brandhouse_shared.artifacts import load_artifact_store
    from brandhouse_shared.ledger import open_ledger

    wish = Wish(
        key,
        source,
        output,
        number=None if asked.version is None else VersionKey.parse(f"{key}/{asked.version}").number,
        keep=asked.keep or None,
        separator=asked.separator,
        encoding=asked.encoding,
        strict=asked.strict,
        restart=asked.restart,
        overwrite=asked.overwrite,
        chunk_rows=asked.chunk_rows,
    )
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    with _shown_progress(str(key), silent=silent) as report:
        return score_file(settings, brand, wish, ledger, load_artifact_store(settings), report, str(uuid.uuid4()), "local")


async def _score_on_server(settings: Settings, key: ModelKey, source: Path, output: Path, asked: Asked) -> dict[str, Any]:
    from brandhouse_console.server_runs import run_scoring

    if asked.chunk_rows is not None:
        raise BrandhouseError("--chunk-rows is for scorings of this process; leave it out with --server")
    parameters = {
        "input": str(source.resolve()),
        "output": str(output.resolve()),
        "version": asked.version or "",
        "keep": "\n".join(asked.keep),
        "separator": asked.separator or "",
        "encoding": asked.encoding or "",
        "strict": asked.strict,
        "restart": asked.restart,
        "overwrite": asked.overwrite,
    }
    return await run_scoring(settings, key, parameters)


def _print_run(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
    elif result["outcome"] != "failed":
        print(result["detail"])
    if result["outcome"] == "failed":
        if not as_json:
            print(f"brandhouse: {result['detail']}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _shown_progress(subject: str, *, silent: bool) -> Iterator[Callable[["Progress"], None]]:
    """Yield who is told of progress: it rewrites one line of a terminal, and writes a line now and then elsewhere."""
    on_terminal = sys.stderr.isatty()
    told = time.monotonic()

    def show(progress: "Progress") -> None:
        nonlocal told
        if silent or time.monotonic() - told < (SHOW_SECONDS if on_terminal else LINE_SECONDS):
            return
        told = time.monotonic()
        line = f"{subject}: {progress}"
        print(f"\r\033[K{line}" if on_terminal else line, end="" if on_terminal else "\n", file=sys.stderr, flush=True)

    yield show
    if on_terminal and not silent:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _print_scored(scored: "Scored") -> None:
    print(f"{scored.output}: {scored.detail}")
    if scored.resumed_rows:
        print(f"  went on behind {scored.resumed_rows:,} rows of an earlier attempt")
    if scored.alone:
        print(f"  rows were asked one by one ({scored.alone}): in blocks the last digits would differ from a request's")


def _document(scored: "Scored") -> dict[str, Any]:
    return {
        "version": scored.version,
        "output": str(scored.output),
        "rows": scored.rows,
        "refused": scored.refused,
        "failed": scored.failed,
        "resumed_rows": scored.resumed_rows,
        "seconds": round(scored.seconds, 3),
        "one_by_one": scored.alone,
        "input_sha256": scored.input_sha256,
        "output_sha256": scored.output_sha256,
        "run_id": scored.run_id,
    }
