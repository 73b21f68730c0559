"""Names that a person typed and names that the platform needs, from names as they stand in a file."""

from collections.abc import Iterable
from difflib import get_close_matches

from brandhouse_authoring.name_words import name_words
from brandhouse_shared.errors import DatasetError, join_bounded
from brandhouse_shared.names import is_name

MAX_NAME = 40


def find_column(wanted: str, names: Iterable[str]) -> str:
    """Return the column that is meant: the very name, or the only one that differs by blanks at its ends or letter case.

    Raises:
        DatasetError: If there is none, or several fit.
    """
    names = list(names)
    if wanted in names:
        return wanted
    close = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    if len(close) == 1:
        return close[0]
    if close:
        raise DatasetError(
            f"several columns might be {wanted[:80]!r}: {join_bounded(repr(name) for name in close)}; write one as it stands"
        )
    known = {name.strip().casefold(): name for name in names}
    likely = [known[name] for name in get_close_matches(wanted.strip().casefold(), known, n=3)]
    meant = f"; did you mean {' or '.join(repr(name) for name in likely)}?" if likely else ""
    raise DatasetError(f"there is no column {wanted[:80]!r}; columns: {join_bounded((repr(name) for name in names), 40)}{meant}")


def as_name(text: str, fallback: str) -> str:
    """Make an identifier of a column's or a file's name; `fallback` where nothing usable is in it."""
    name = "_".join(name_words(text))[:MAX_NAME].strip("_")
    if name and name[0].isdigit():
        name = f"{fallback}_{name}"[:MAX_NAME]
    if is_name(name):
        return name
    longer = f"{name}_{fallback}"
    return longer if name and is_name(longer) else fallback
