"""Each heading of the page of error messages is a message of the platform, word by word."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faq.md"
SOURCES = [ROOT / "shared" / "src", *sorted((ROOT / "platform").glob("*/src"))]
HOLE = "…"
LEAST_WORDS = 12
"""Characters that at least one piece of a heading must have, or it would fit anything."""


def headings() -> list[str]:
    return re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def messages() -> tuple[str, ...]:
    """All texts of the sources, holes for what is computed; adjacent pieces are joined as Python joins them."""
    files = [path for folder in SOURCES for path in folder.rglob("*.py")]
    return tuple(dict.fromkeys(text for path in files for text in texts_of(path.read_text(encoding="utf-8"))))


def texts_of(source: str) -> Iterator[str]:
    return (text for node in ast.walk(ast.parse(source)) if (text := text_of(node)))


def text_of(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in parts)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return (text_of(left) or HOLE) + (text_of(right) or HOLE)
    return ""


def is_said(heading: str, said: tuple[str, ...]) -> bool:
    """Whether one text holds all pieces of the heading, in their order."""
    pieces = [piece.strip() for piece in heading.split(HOLE) if piece.strip()]
    pattern = re.compile(".*".join(re.escape(piece) for piece in pieces), re.DOTALL)
    return any(pattern.search(text) for text in said)


@pytest.mark.parametrize("heading", headings())
def test_each_heading_is_a_message_of_the_platform(heading: str) -> None:
    assert max(len(piece.strip()) for piece in heading.split(HOLE)) >= LEAST_WORDS, f"too vague: {heading}"
    assert is_said(heading, messages()), f"no source says: {heading}"


def test_the_page_has_the_messages_users_meet_most() -> None:
    found = headings()
    assert len(found) >= 25
    assert len(set(found)) == len(found), "each message once"


def test_a_message_that_was_reworded_is_noticed() -> None:
    said = tuple(texts_of('raise Error(f"{brand}: no price " f"for {what}; bring more" + hint)'))
    assert is_said("no price for …; bring more", said)
    assert not is_said("no price of …; bring more", said)
    assert not is_said("bring more … no price for", said), "the order counts"
