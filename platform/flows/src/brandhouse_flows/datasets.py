"""Read a data file as it was declared: every cell a text, or None where there is no value.

Types belong to the input schema (`contracts`), so nothing is guessed here: a postcode keeps its zero, an id its digits.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from brandhouse_shared.config import Dataset
from brandhouse_shared.errors import DatasetError, join_bounded

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = ("file", "folder", "text")
MAX_UNPACKED_BYTES = 2 << 30
"""A zip that claims more is refused: a few kilobytes can unpack to anything."""
_DAMAGE = (EOFError, zlib.error, zipfile.BadZipFile)


def read_table(dataset: Dataset, path: Path) -> pd.DataFrame:
    """Read one snapshot of a dataset.

    Args:
        dataset: How the file is to be read.
        path: The snapshot's bytes, under a name with the dataset's ending (.gz and .bz2 are unpacked).

    Returns:
        One row per record, columns by their own names, every cell a str or None.

    Raises:
        DatasetError: If the file is missing, empty, truncated, without rows, or not as declared.
    """
    if not path.is_file():
        raise DatasetError(f"{path.name}: the data file does not exist; fetch it with `brandhouse ingest`")
    if path.stat().st_size == 0:
        raise DatasetError(f"{path.name}: the data file is empty (0 bytes); restore it with `brandhouse ingest`")
    table = _read(dataset, path)
    if table.empty:
        raise DatasetError(f"{path.name}: the data file has columns but no row; there is nothing to learn from")
    return table


def _read(dataset: Dataset, path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Dataset, Path], pd.DataFrame]] = {"csv": _read_csv, "parquet": _read_parquet, "zip-text": _read_zip_text}
    try:
        return readers[dataset.format](dataset, path)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path.name}: byte {error.start} is not {dataset.encoding}; set `encoding` of the dataset, such as latin-1"
        ) from error
    except LookupError as error:
        raise DatasetError(f"{path.name}: unknown encoding {dataset.encoding!r}; allowed: a codec, such as utf-8 or latin-1") from error
    except _DAMAGE as error:
        kind = type(error).__name__
        raise DatasetError(f"{path.name}: the file is truncated or damaged ({kind}); restore it with `brandhouse ingest`") from error
    except OSError as error:
        raise DatasetError(f"{path.name}: the file cannot be read as {dataset.format}{path.suffix}: {str(error)[:200]}") from error


def _read_csv(dataset: Dataset, path: Path) -> pd.DataFrame:
    import pandas as pd

    options: dict[str, Any] = {"sep": dataset.separator, "encoding": dataset.encoding, "dtype": str, "keep_default_na": False}
    options["skiprows"] = dataset.skip_rows
    try:
        first = pd.read_csv(path, header=None, nrows=1, **options).iloc[0].tolist()
        _check_header(dataset, path, first)
        names = None if dataset.header is None else list(dataset.header)
        table = pd.read_csv(path, header=0 if names is None else None, names=names, na_values=list(dataset.missing), **options)
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path.name}: the data file holds no table; look at its first lines and at `separator`") from error
    except pd.errors.ParserError as error:
        raise DatasetError(f"{path.name}: the rows do not fit the columns: {str(error)[:200]}; look at `separator`") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus leading cells for an index, without a word
        raise DatasetError(f"{path.name}: the rows hold more cells than the {len(table.columns)} columns; look at `separator`")
    cells = _as_cells(_stripped(table, dataset) if dataset.strip else table)
    return _with_plain_numbers(cells, dataset)


def _check_header(dataset: Dataset, path: Path, first: list[str]) -> None:
    if dataset.header is None:
        twice = sorted({name for name in first if first.count(name) > 1})
        if twice:
            raise DatasetError(f"{path.name}: columns of the same name: {join_bounded(twice)}; name every column once")
    elif len(first) != len(dataset.header):
        raise DatasetError(f"{path.name}: {len(first)} cells in the first row, {len(dataset.header)} names in `header`; name each column")


def _as_cells(table: pd.DataFrame) -> pd.DataFrame:
    texts = table.astype(object)
    return texts.where(texts.notna(), None)


def _stripped(table: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Drop blanks at the ends of cells; what then means no value becomes missing."""
    stripped = {name: table[name].str.strip() for name in table.columns}
    for name, cells in stripped.items():
        stripped[name] = cells.where(~cells.isin(list(dataset.missing)))
    return _with_columns(table, stripped)


def _with_plain_numbers(cells: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Rewrite the columns whose every value is a number of the declared form; a text such as a list keeps its own signs."""
    if dataset.decimal == "." and dataset.thousands is None and not dataset.units:
        return cells
    is_number = re.compile(number_pattern(dataset.decimal, dataset.thousands))
    is_plain = re.compile(number_pattern(".", None))
    plain = {}
    for name in cells.columns:
        bare = cells[name].str.replace(units_pattern(dataset.units), "", regex=True) if dataset.units else cells[name]
        if bare.dropna().str.fullmatch(is_number).all():
            ungrouped = bare if dataset.thousands is None else bare.str.replace(dataset.thousands, "", regex=False)
            plain[name] = ungrouped.str.replace(dataset.decimal, ".", regex=False)
        elif dataset.units and bare.dropna().str.fullmatch(is_plain).all():
            plain[name] = bare
    return _with_columns(cells, plain)


def _with_columns(table: pd.DataFrame, changed: Mapping[Any, pd.Series[Any]]) -> pd.DataFrame:
    """Like `DataFrame.assign`, which cannot take a column named `self`."""
    changed_table = table.copy(deep=False)
    for name, column in changed.items():
        changed_table[name] = column
    return changed_table


def units_pattern(units: Sequence[str]) -> re.Pattern[str]:
    """What is dropped beside a number: one of the signs before its first digit, and one after its last."""
    signs = "|".join(re.escape(unit) for unit in units)
    return re.compile(rf"^\s*(?:{signs})\s*(?=[+-]?[.,]?\d)|(?<=\d)\s*(?:{signs})\s*$")


def number_pattern(decimal: str, thousands: str | None) -> str:
    """The form of a number as a regular expression that the whole cell must match."""
    whole = r"\d*" if thousands is None else rf"(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d*)"
    fraction = rf"(?:{re.escape(decimal)}\d+)?"
    # It begins with a digit, or with the sign of the decimals and a digit; the parts alone do not ask for one.
    return rf"\s*[+-]?(?=(?:{re.escape(decimal)})?\d){whole}{fraction}(?:[eE][+-]?\d+)?\s*"


def _read_parquet(dataset: Dataset, path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.read_table(path)
        columns = {name: _texts(stored.column(name)) for name in stored.column_names}
    except pa.ArrowNotImplementedError as error:
        raise DatasetError(f"{path.name}: a column holds lists or records; allowed: numbers, texts, booleans, dates") from error
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path.name}: the file is no whole Parquet file; restore it with `brandhouse ingest`") from error
    cells = pd.DataFrame(columns, dtype=object)
    known = cells.where(~cells.isin(list(dataset.missing)), None)
    return _with_plain_numbers(_as_cells(_stripped(known, dataset)) if dataset.strip else known, dataset)


def _texts(column: Any) -> list[str | None]:
    """Arrow writes 3 for 3 and for 3.0, as a CSV would; pandas would write 3.0 once a value is missing."""
    import pyarrow as pa

    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    texts: list[str | None] = values.cast(pa.string()).to_pylist()
    return texts


def _read_zip_text(dataset: Dataset, path: Path) -> pd.DataFrame:
    """One text a file, in the order of the paths; `folder` is the name of the folder a text lies in."""
    import pandas as pd

    with zipfile.ZipFile(path) as archive:
        members = sorted((item for item in archive.infolist() if not item.is_dir()), key=lambda item: item.filename)
        unpacked = sum(item.file_size for item in members)
        if unpacked > MAX_UNPACKED_BYTES:
            raise DatasetError(f"{path.name}: unpacks to {unpacked} bytes; allowed: {MAX_UNPACKED_BYTES}")
        records = [_text_record(dataset, archive, item.filename) for item in members]
    return pd.DataFrame(records, columns=list(TEXT_COLUMNS), dtype=object)


def _text_record(dataset: Dataset, archive: zipfile.ZipFile, name: str) -> tuple[str, str, str | None]:
    text = archive.read(name).decode(dataset.encoding)
    member = PurePosixPath(name)
    return member.name, member.parent.name, None if text in dataset.missing else text
