"""The denial matrix as a dated page that needs nothing else."""

import html
from collections.abc import Sequence

from brandhouse_console.isolation_matrix import Cell, Matrix, count_outcomes

COLUMNS = ("surface", "tried", "denied", "allowed", "known", "absent", "not tried", "why")

_SIGNS = {"denied": "·", "allowed": "✗", "known": "!", "absent": "–", "not tried": "?"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { border: 1px solid #ccc; padding: .2rem .5rem; text-align: left; }
td.n { text-align: right; } .denied { background: #e3f4e3; } .allowed, .not-tried { background: #f6c5c0; } .known { background: #fbe8b8; }
.absent { color: #888; } summary { cursor: pointer; } table.grid td { text-align: center; }
"""


def table_rows(matrix: Matrix) -> list[list[str | int]]:
    """One row a surface, for people."""
    return [[name, *count_outcomes(counts), matrix.first_detail(name)] for name, counts in matrix.surfaces.items()]


def render_html(matrix: Matrix) -> str:
    """Build the page."""
    title = f"Denial matrix, {matrix.at:%Y-%m-%d %H:%M} UTC"
    verdict = "Everything was tried; nothing was open that is not known to be." if matrix.is_tight else "NOT TIGHT: look at the red rows."
    brands = f"{len(matrix.brands)} brands: {', '.join(matrix.brands)}"
    pairs = len(matrix.brands) * (len(matrix.brands) - 1)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
        f"<p><b>{verdict}</b></p><p>{_text(brands)}; {pairs} pairs. Tried on: {_text(matrix.against)}.</p>",
        "<p>allowed and not tried are failures; known: open, and written down as not built; absent: there is nothing to reach.</p>",
        _summary(matrix),
        _timings(matrix),
        *(_grid(matrix, surface) for surface in matrix.surfaces),
        "</html>",
    ]
    return "\n".join(parts)


def _summary(matrix: Matrix) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    return f"<table><tr>{head}</tr>{''.join(_summary_row(row) for row in table_rows(matrix))}</table>"


def _summary_row(row: Sequence[str | int]) -> str:
    name, tried, denied, allowed, known, absent, not_tried, why = row
    kind = "allowed" if allowed or not_tried else "known" if known else "denied"
    counts = "".join(f'<td class="n">{count}</td>' for count in (tried, denied, allowed, known, absent, not_tried))
    return f'<tr class="{kind}"><td>{_text(name)}</td>{counts}<td>{_text(why)}</td></tr>'


def _timings(matrix: Matrix) -> str:
    head = "<tr><th>caller</th><th>brand</th><th>kinds</th><th>medians, us</th><th>effect size (0 to 0.5)</th></tr>"
    rows = [
        f"<tr><td>{_text(one.attacker)}</td><td>{_text(one.victim)}</td><td>{_text(' / '.join(one.kinds))}</td>"
        f"<td>{one.medians_us[0]:.0f} / {one.medians_us[1]:.0f}</td><td>{one.effect:.3f}</td></tr>"
        for one in matrix.timings
    ]
    return f"<h2>Timing of refusals</h2><table>{head}{''.join(rows)}</table>"


def _grid(matrix: Matrix, surface: str) -> str:
    """One surface: who (down) tried whom (across)."""
    cells = {(cell.attacker, cell.victim): cell for cell in matrix.cells if cell.surface == surface}
    head = "".join(f"<th>{_text(brand)}</th>" for brand in matrix.brands)
    rows = [
        f"<tr><th>{_text(attacker)}</th>{''.join(_cell(cells.get((attacker, victim))) for victim in matrix.brands)}</tr>"
        for attacker in matrix.brands
    ]
    return f'<details><summary>{_text(surface)}</summary><table class="grid"><tr><th></th>{head}</tr>{"".join(rows)}</table></details>'


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    return f'<td class="{cell.outcome.replace(" ", "-")}" title="{_text(cell.detail or cell.outcome)}">{_SIGNS[cell.outcome]}</td>'


def _text(value: object) -> str:
    return html.escape(str(value))
