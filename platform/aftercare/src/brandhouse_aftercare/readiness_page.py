"""Readiness as one self-contained page: no script, nothing from the network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import brandhouse_flows.wording
from brandhouse_aftercare.readiness import Readiness, age_days, section_tests
from brandhouse_aftercare.readiness_answers import Test

_STYLE = Path(brandhouse_flows.wording.__file__).with_name("card_templates") / "card.css"

HOW = "The 28 tests of the ML Test Score, answered by evidence. A model's score is that of its weakest section, of 7 points."


def render_readiness(found: Sequence[Readiness]) -> str:
    """Render a table of all models, and for each its sections, the weakest first.

    Args:
        found: At least one.
    """
    style = _STYLE.read_text(encoding="utf-8")
    parts = "".join(_model(one) for one in found)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Readiness</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
  <h1>Readiness</h1>
  <p class="story">{HOW} As of {found[0].now:%Y-%m-%d %H:%M} UTC.</p>
</header>
{_overview(found)}
{parts}
</main>
</body>
</html>
"""


def say_points(points: float) -> str:
    """Points for people."""
    return {0.0: "0", 0.5: "½", 1.0: "1"}[points]


def _overview(found: Sequence[Readiness]) -> str:
    rows = [
        [str(one.key), f"{one.score:g}", one.weakest, _say_next(one.next_points)]
        for one in sorted(found, key=lambda one: (one.score, str(one.key)))
    ]
    return f"<section>{_table(['model', 'score', 'weakest section', 'cheapest next point'], rows)}</section>"


def _model(one: Readiness) -> str:
    sections = "".join(_section(one, section, points) for section, points in one.sections.items())
    return f"<section><h2>{escape(str(one.key))}: {one.score:g} of 7</h2>{sections}</section>"


def _section(one: Readiness, section: str, points: float) -> str:
    rows = [_row(one, test) for test in section_tests(section)]
    return f"<h3>{section}: {points:g} of 7</h3>{_table(['test', 'points', 'asks', 'found', 'days old', 'where'], rows)}"


def _row(one: Readiness, test: Test) -> list[str]:
    answer = one.answers[test.name]
    age = age_days(answer, one.now)
    return [test.name, say_points(answer.points), test.asks, answer.found, "" if age is None else f"{age:g}", answer.link]


def _say_next(tests: Sequence[Test]) -> str:
    return f"{tests[0].name}: {tests[0].advice} (about {tests[0].hours:g} h)" if tests else "none that this brand can reach"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{_cells("th", heads)}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
