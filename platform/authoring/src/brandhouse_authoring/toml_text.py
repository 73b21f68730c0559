"""Values as TOML text: what the template and the answers file are written with.

Only writes. Reading is `tomllib`'s; there is no writer in the standard library.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONG = 100
"""A table that would be longer than this on one line, in characters, gets a section."""


def toml_key(name: str) -> str:
    """Write a key: bare where TOML allows it, else quoted. Column names may hold any characters."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Write a value on one line; a mapping becomes an inline table.

    Raises:
        TypeError: If TOML has no such value, such as None.
    """
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case Mapping():
            pairs = ", ".join(f"{toml_key(str(key))} = {toml_value(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case Sequence():
            return f"[{', '.join(toml_value(item) for item in value)}]"
    raise TypeError(f"TOML has no value for {type(value).__name__}")


def toml_lines(table: Mapping[str, Any], path: str = "") -> str:
    """Write a table a line a key, so that a change of one of its values is a change of one line.

    A list of tables gets a line for each of them, a long table a section of its own. Keys without a value (None) are left out.

    Args:
        table: What to write.
        path: Keys that lead to it, written; empty for a whole document.
    """
    known = {toml_key(key): value for key, value in table.items() if value is not None}
    sections = {key: value for key, value in known.items() if isinstance(value, Mapping) and len(toml_value(value)) > _LONG}
    lines = "".join(f"{key} = {_spread(value)}\n" for key, value in known.items() if key not in sections)
    for key, value in sections.items():
        inner = f"{path}.{key}" if path else key
        lines += f"\n[{inner}]\n{toml_lines(value, inner)}"
    return lines


def _spread(value: Any) -> str:
    if not isinstance(value, list | tuple) or not any(isinstance(item, Mapping) for item in value):
        return toml_value(value)
    return "[\n" + "".join(f"  {toml_value(item)},\n" for item in value) + "]"
