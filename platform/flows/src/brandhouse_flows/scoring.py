"""The `score` flow: a file through one version, under Prefect. After a crash its retry goes on with what is done."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from brandhouse_flows.batch_scoring import score_file
from brandhouse_flows.batch_wishes import Progress, Scored, Wish
from brandhouse_flows.prefect_steps import RETRYABLE_FAILURE, run_as_task
from brandhouse_flows.run_urls import url_of_run
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.brands import find_brand
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey, VersionKey
from brandhouse_shared.settings import load_settings

LOG_SECONDS = 10.0
"""Between two lines of progress in a run's log."""


@flow(name="score", flow_run_name="{brand}/{model}")
def score_model(
    brand: str,
    model: str,
    input: str = "",  # noqa: A002 - the parameter's name on the server and of the command's option
    output: str = "",
    version: str = "",
    keep: str = "",
    separator: str = "",
    encoding: str = "",
    strict: bool = False,
    restart: bool = False,
    overwrite: bool = False,
) -> State[Any]:
    """Score a file with one version.

    Args:
        brand: Name of a folder below `brands/`.
        model: Name of a model in its `brand.toml`.
        input: File to score, as an absolute path of the machine that executes the run; CSV (also .gz, .bz2) or Parquet.
        output: File to write, likewise.
        version: Such as v3; empty: the one in production.
        keep: Columns of the input to write, one a line; empty: all.
        separator: Of a CSV file, if it is another than the dataset's.
        encoding: Of a CSV file, if it is another than the dataset's.
        strict: Stop at the first row that contradicts the input schema.
        restart: Forget what another scoring under this output's name has done.
        overwrite: Replace an output that exists.
    """
    key = ModelKey(brand, model)
    number = VersionKey.parse(f"{key}/{version}").number if version else None
    columns = tuple(line for line in keep.splitlines() if line) or None
    source, target = _absolute(key, "input", input), _absolute(key, "output", output)
    wish = Wish(key, source, target, number, columns, separator or None, encoding or None, strict, restart, overwrite)
    try:
        scored = run_as_task(f"score {key}", _score, wish)
    except RetryableError as error:
        return Failed(name=RETRYABLE_FAILURE, message=str(error))
    get_run_logger().info(scored.detail)
    create_table_artifact(key=f"{brand}-{model}-scores".replace("_", "-"), table=[_row(scored)], description=scored.detail)
    return Completed(name="Scored", message=scored.detail)


def _absolute(key: ModelKey, name: str, path: str) -> Path:
    if not Path(path).is_absolute():
        raise DatasetError(f"{key}: {name} must be an absolute path of the machine that executes the run")
    return Path(path)


def _score(wish: Wish) -> Scored:
    settings = load_settings()
    run = FlowRunContext.get()
    run_id = str(run.flow_run.id) if run and run.flow_run else "unknown"
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    brand, store = find_brand(settings.brands_dir, wish.key.brand), load_artifact_store(settings)
    return score_file(settings, brand, wish, ledger, store, _log_progress(), run_id, url_of_run(run_id))


def _log_progress() -> Any:
    logger = get_run_logger()
    told = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= LOG_SECONDS:
            told = time.monotonic()
            logger.info(str(progress))

    return report


def _row(scored: Scored) -> dict[str, Any]:
    return {
        name: str(getattr(scored, name)) for name in ("version", "rows", "refused", "failed", "input_sha256", "output_sha256", "output")
    }
