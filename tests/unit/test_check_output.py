"""What `brandhouse check` prints: for people, for machines, and as remarks of code hosting."""

import json
import re
from typing import Any

import pytest

from brandhouse_console.annotations import Annotation, format_annotation
from brandhouse_console.checking import check

TOML = "brands/casa/brand.toml"


@pytest.fixture(autouse=True)
def _in_the_workspace(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(workspace.root))
    monkeypatch.setenv("BRANDHOUSE_HOME", str(workspace.home))


def faulty(workspace: Any) -> None:
    workspace.edit(TOML, 'metric = "mae"', 'metric = "mae"\nmetrc = "mae"\nsplt = 1')
    workspace.edit("brands/villa/brand.toml", "villa-data@house.example", "upstairs, 100%: us")


def test_text_names_place_rule_reason_and_fix(workspace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    faulty(workspace)
    with pytest.raises(SystemExit) as stopped:
        check([], form="text")
    text = capsys.readouterr().out
    assert stopped.value.code == 1
    assert f"{TOML}:20:1: error: models.price.splt: unknown key" in text, "the place is one that editors and terminals open"
    assert "[unknown-key]" in text
    assert text.count("why: A misspelt key") == 1, "the reason of a rule is told once"
    assert text.count("fix: correct its name") == 2, "what to do is told for each"
    assert text.endswith("2 brand(s) checked, 2 problem(s), 1 warning(s)\n")


def test_warnings_do_not_fail(workspace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    faulty(workspace)
    check(["villa"], form="text")
    assert capsys.readouterr().out.endswith("1 brand(s) checked, 0 problem(s), 1 warning(s)\n")


def test_json_is_a_list_with_all_facts(workspace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    faulty(workspace)
    with pytest.raises(SystemExit):
        check(["casa"], form="json")
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["brand"], first["rule"], first["severity"], first["file"], first["line"]) == ("casa", "unknown-key", "error", TOML, 19)
    assert first["docs"] == "docs/reference/check-rules.md#unknown-key"
    assert {"column", "problem", "reason", "fix"} <= set(first)


def test_github_gets_one_line_a_problem_with_a_path_from_the_root(workspace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    faulty(workspace)
    with pytest.raises(SystemExit):
        check([], form="github")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(lines) == 3
    pattern = re.compile(r"::(error|warning) file=(brands/[^,:]+),line=(\d+),col=(\d+),title=([^,:]+)::(.+)")
    matches = [pattern.fullmatch(line) for line in lines]
    assert all(matches), lines
    assert [(match[1], match[2], match[5]) for match in matches if match] == [
        ("error", TOML, "casa%3A unknown-key"),
        ("error", TOML, "casa%3A unknown-key"),
        ("warning", "brands/villa/brand.toml", "villa%3A owner-address"),
    ]
    assert "100%25: us" in lines[2] and "%0Afix: " in lines[2]


def test_nothing_in_an_annotation_can_end_it_early() -> None:
    line = format_annotation(Annotation("error", "a,b:c%.py", "t: 1, 2", "one\r\n::error::two 100%", 3))
    assert line == "::error file=a%2Cb%3Ac%25.py,line=3,title=t%3A 1%2C 2::one%0D%0A::error::two 100%25"


def test_folder_without_declaration_is_a_problem(workspace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace.root / "brands" / "stray").mkdir()
    with pytest.raises(SystemExit):
        check([], form="text")
    assert "brands/stray/brand.toml: error: does not exist" in capsys.readouterr().out
