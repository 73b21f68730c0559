"""A query's result as the table that a brand begins from.

The query runs once: the rows that are looked at are those that become the first snapshot.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_flows.row_files import write_rows
from brandhouse_flows.sql_feed import fetch_rows
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.config import Dataset
from brandhouse_shared.declarations import SECRET_PREFIX, SqlSource
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

DATASET = "rows"
DATA = {"file": f"data/{DATASET}.csv.gz"}


class QueryError(BrandhouseError):
    """A brand cannot begin from this query."""


@dataclass(frozen=True)
class QueryResult:
    """Rows of a query.

    Attributes:
        rows: All values as texts; None where there is none.
        file: The same rows as snapshots of this source are written.
        source: Keys of the dataset's `source`.
    """

    rows: "pd.DataFrame"
    file: Path
    source: Mapping[str, Any]


def run_query(settings: Settings, name: str, variable: str, query: str, folder: Path) -> QueryResult:
    """Run a query for a brand that is to be, and write its rows into `folder`.

    Args:
        settings: Of this process.
        name: The brand's name.
        variable: Environment variable with the SQLAlchemy URL: one of the brand's own.
        query: One SELECT.
        folder: Where the file goes.

    Raises:
        QueryError: If the variable is not the brand's own, or not set.
        DatasetError: If the query is refused, too slow, too long or without rows.
        RetryableError: If the database does not answer.
    """
    url = _read_url(settings, name, variable)
    source = SqlSource(kind="sql", url_env=variable, query=query)
    table = fetch_rows(url, source, name)
    file = folder / Path(DATA["file"]).name
    cells = zip(*(column.to_pylist() for column in table.columns), strict=True)
    write_rows(Dataset(file=DATA["file"], source=source), file, table.column_names, cells)
    return QueryResult(table.to_pandas(), file, source.model_dump(mode="json", exclude_defaults=True))


def _read_url(settings: Settings, name: str, variable: str) -> str:
    own = f"{SECRET_PREFIX}{name.upper()}_"
    if not variable.startswith(own) or len(variable) <= len(own):
        raise QueryError(
            f"{name}: {variable[:80]!r} is no variable of the brand; allowed: {own}..., so that no other brand's runs can read it"
        )
    url = secrets_of(name, (folder.name for folder in brand_folders(settings.brands_dir)), os.environ).get(variable)
    if not url:
        raise QueryError(f"{name}: the environment variable {variable} is not set; set it here and where runs are executed")
    return url
