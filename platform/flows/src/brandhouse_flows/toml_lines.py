"""At which line and column of a TOML file a key is. The parser forgets both, so the text is walked once more.

The text must be valid TOML; keys may be dotted or quoted, and lie in tables, lists of tables and inline tables.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[^\n]*")
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\s.=\[\]{},#"\']+)')
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\s#]*")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")

Path = tuple[str, ...]


class Place(NamedTuple):
    """Line and column, both counted from one."""

    line: int
    column: int


def find_places(text: str) -> dict[Path, Place]:
    """Return where every key, table header and list item is; an item's key is its index as text.

    A table that no header names is where its first key is.
    """
    places: dict[Path, Place] = {}
    for path, place in _Walk(text).places():
        places[path] = place
        for end in range(1, len(path)):
            places.setdefault(path[:end], place)
    return places


def nearest_place(places: Mapping[Path, Place], path: Sequence[str]) -> Place | None:
    """Return the place of a key, or of the longest part of its path that is written down; None if there is no such part."""
    return next((places[tuple(path[:end])] for end in range(len(path), 0, -1) if tuple(path[:end]) in places), None)


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._line_start = 1, 0
        self._seen = 0
        self._lists: dict[Path, int] = {}

    def places(self) -> Iterator[tuple[Path, Place]]:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                place = self._place()
                table = self._header()
                yield table, place
            else:
                yield from self._pair(table)
            self._skip(_REST_OF_LINE)

    def _header(self) -> Path:
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        *parents, name = self._keys()
        table: Path = ()
        for part in parents:
            table = self._entered((*table, part))
        path = (*table, name)
        if is_list:
            self._lists[path] = self._lists.get(path, -1) + 1
        return self._entered(path)

    def _entered(self, path: Path) -> Path:
        return (*path, str(self._lists[path])) if path in self._lists else path

    def _pair(self, table: Path) -> Iterator[tuple[Path, Place]]:
        place = self._place()
        path = (*table, *self._keys())
        yield path, place
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        yield from self._value(path)

    def _value(self, path: Path) -> Iterator[tuple[Path, Place]]:
        first = self._text[self._at]
        if first == "{":
            yield from self._items(lambda _: self._pair(path), "}")
        elif first == "[":
            yield from self._items(lambda index: self._item((*path, str(index))), "]")
        else:
            self._skip(_TEXT if first in "\"'" else _SCALAR)

    def _items(self, read: Callable[[int], Iterator[tuple[Path, Place]]], end: str) -> Iterator[tuple[Path, Place]]:
        self._at += 1
        index = 0
        while self._text[self._skip(_BLANK)] != end:
            yield from read(index)
            index += 1
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _item(self, path: Path) -> Iterator[tuple[Path, Place]]:
        yield path, self._place()
        yield from self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self._text, self._at)
            if match is None:
                raise ValueError(f"no key at line {self._place().line}; the text is no valid TOML")
            quoted, literal, bare = match.groups()
            keys.append(_unescape(quoted) if quoted is not None else literal if literal is not None else bare)
            self._at = match.end()
            if not self._text.startswith(".", self._skip(_SPACE)):
                return keys
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _place(self) -> Place:
        newlines = self._text.count("\n", self._seen, self._at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._seen, self._at) + 1
        self._seen = self._at
        return Place(self._line, self._at - self._line_start + 1)


def _unescape(text: str) -> str:
    short = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else short.get(match[3], match[3])

    return _ESCAPED.sub(character, text) if "\\" in text else text
