"""Tables for people: aligned, whole in a pipe, folded on a narrow terminal."""

import sys
from datetime import UTC, datetime

import pytest

from brandhouse_console.output import format_cell, print_table


def test_table_aligns_numbers_right_and_texts_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["brand", "score"], [["casa", 0.5], ["villa", None], ["autoplein", 12_345.6]], title="scores")
    assert capsys.readouterr().out.splitlines() == [
        "scores",
        "brand       score",
        "─────────  ──────",
        "casa          0.5",
        "villa           -",
        "autoplein  12,346",
    ]


def test_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["brand"], [], empty="no brand yet")
    assert capsys.readouterr().out == "no brand yet\n"


def test_line_breaks_in_a_cell_do_not_break_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["why"], [["first\nsecond"]])
    assert capsys.readouterr().out.splitlines()[-1] == "first second"


def test_long_text_is_whole_in_a_pipe_and_folded_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "the card was read by two people " * 4
    print_table(["version", "why"], [["v1", reason]])
    assert reason.strip() in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(["version", "why"], [["v1", reason]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert " ".join(" ".join(line.removeprefix("v1").split()) for line in lines[2:]) == reason.strip()


def test_cells() -> None:
    assert [format_cell(value) for value in (None, True, 0.123456, 98765.4, 7)] == ["-", "yes", "0.1235", "98,765", "7"]
    assert format_cell(datetime(2024, 5, 1, 12, 30, tzinfo=UTC))[:7] == "2024-05"
