"""At which line of `brand.toml` a problem is. The TOML parser forgets lines, so the text is looked at again."""

import re
from collections.abc import Iterator
from pathlib import Path

FILE = "brand.toml"
_SYNTAX_ERROR_LINE = re.compile(r"\(at line (\d+)")
_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.)?""")


def find_line(folder: Path, problem: str) -> str:
    """Return `brand.toml:LINE`, or `brand.toml` alone where no line can be told.

    Args:
        folder: The brand's.
        problem: A syntax error of the TOML parser, or `dotted.path: what is wrong with it`. The line is that of the longest
            part of the path that is written down; a key named first in the text after a table's path is looked for in it.
    """
    if match := _SYNTAX_ERROR_LINE.search(problem):
        return f"{FILE}:{match.group(1)}"
    text = problem.removeprefix(f"{FILE}: ")
    path, _, rest = text.partition(": ")
    wanted = [path, path.split(" ", 1)[0], f"{path}.{rest.split(' ', 1)[0]}"]
    try:
        places = list(_places((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return FILE
    found = [(len(place), number) for place, number in places if any(_is_part(place, one) for one in wanted)]
    return f"{FILE}:{max(found, key=lambda pair: (pair[0], -pair[1]))[1]}" if found else FILE


def _is_part(place: str, path: str) -> bool:
    return path == place or path.startswith(f"{place}.")


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Yield the full dotted path of every key and table header, with its line."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        head = line.strip()
        if head.startswith("["):
            table = _read_keys(head.lstrip("["))
            yield ".".join(table), number
        elif keys := _read_keys(head) if "=" in head and not head.startswith("#") else []:
            yield ".".join([*table, *keys]), number


def _read_keys(text: str) -> list[str]:
    keys = []
    position = 0
    while match := _KEY.match(text, position):
        keys.append(next(group for group in match.groups()[:3] if group is not None))
        position = match.end()
        if not match.group(4):
            break
    return keys
