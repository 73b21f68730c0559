"""The difference of two snapshots as one page: self-contained, without script, with a small picture for every column.

Pictures are drawn as SVG here: a column's picture is two kilobytes, follows the page's colours, and needs no plotting
library to be imported.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from brandhouse_flows.comparison import ColumnChange, Comparison, Picture, Side
from brandhouse_flows.wording import say_number, say_share, shorten

WIDTH, HEIGHT, BAR_HEIGHT = 320, 96, 22
MAX_PICTURES = 60
"""More columns than these are in the table only; those with the largest effects are drawn."""


def render_comparison(comparison: Comparison, *, title: str, before: str, after: str) -> str:
    """Render the page.

    Args:
        comparison: What to tell.
        title: `casa/homes`.
        before: What the first snapshot is called, such as the beginning of its hash.
        after: The second.
    """
    shown = [change for change in comparison.columns if change.picture is not None]
    return (
        _environment()
        .get_template("diff.html.jinja")
        .render(
            comparison=comparison,
            rows=comparison.rows,
            title=title,
            before=before,
            after=after,
            pictures=[(change, draw_picture(change.picture, change.type)) for change in shown[:MAX_PICTURES] if change.picture],
            undrawn=len(shown) - len(shown[:MAX_PICTURES]),
            hidden=[change for change in comparison.columns if change.disclosure != "public"],
        )
    )


def draw_picture(picture: Picture, column_type: str) -> Markup:
    """Draw shares before and after as SVG: an outline over filled bars, or pairs of bars."""
    return _draw_bins(picture, column_type) if picture.kind == "bins" else _draw_categories(picture)


def say_side(side: Side, column_type: str) -> str:
    """Describe one column of one table in a few words; without values where they are not shown."""
    missing = f"; {say_share(side.missing_share)} missing" if side.missing_share else ""
    if side.summary is None:
        return f"{side.distinct:,} different{missing}"
    low, _, middle, _, high = (say_place(value, column_type) for value in side.summary)
    return f"median {middle}, {low} to {high}{missing}"


def say_place(value: float, column_type: str) -> str:
    """Write a number of a column as what it stands for: a date, or a number."""
    if column_type == "date":
        return str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=value)).date())
    return say_number(float(f"{value:.4g}"))


def say_values(change: ColumnChange) -> str:
    """Name or count new and vanished values."""
    parts = []
    for what, count, named in (("new", change.new_values, change.new_named), ("gone", change.vanished_values, change.vanished_named)):
        if count and change.type in ("category", "boolean"):
            names = f": {', '.join(shorten(name, 24) for name in named[:5])}{', ...' if count > 5 else ''}" if named else ""
            parts.append(f"{count:,} {what}{names}")
    return "; ".join(parts)


def _draw_bins(picture: Picture, column_type: str) -> Markup:
    count, peak = len(picture.before), max(*picture.before, *picture.after, 1e-9)
    step = WIDTH / count

    def height(share: float) -> float:
        return round((HEIGHT - 22) * share / peak, 1)

    base = HEIGHT - 16
    bars = "".join(
        f'<rect class="after" x="{index * step:.1f}" y="{base - height(share):.1f}" width="{step - 1:.1f}" height="{height(share):.1f}"/>'
        for index, share in enumerate(picture.after)
    )
    points = [(place * step, base - height(share)) for index, share in enumerate(picture.before) for place in (index, index + 1)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(0, base), *points, (WIDTH, base)])
    low, high = (escape(say_place(float(edge), column_type)) for edge in (picture.labels[0], picture.labels[-1]))
    text = f'<text x="0" y="{HEIGHT - 3}">{low}</text><text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{high}</text>'
    return _svg(HEIGHT, f'{bars}<polyline class="before" points="{line}"/>{text}')


def _draw_categories(picture: Picture) -> Markup:
    peak = max(*picture.before, *picture.after, 1e-9)
    left, room = 112, WIDTH - 112 - 48
    parts = []
    for index, (label, old, new) in enumerate(zip(picture.labels, picture.before, picture.after, strict=True)):
        top = index * BAR_HEIGHT
        parts.append(
            f'<text x="0" y="{top + 14}">{escape(shorten(label, 17) or "(empty)")}</text>'
            f'<rect class="old" x="{left}" y="{top + 3}" width="{room * old / peak:.1f}" height="7"/>'
            f'<rect class="after" x="{left}" y="{top + 11}" width="{room * new / peak:.1f}" height="7"/>'
            f'<text x="{WIDTH}" y="{top + 14}" text-anchor="end">{escape(say_share(new))}</text>'
        )
    return _svg(len(parts) * BAR_HEIGHT, "".join(parts))


def _svg(height: int, content: str) -> Markup:
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-hidden="true">{content}</svg>')  # noqa: S704 - texts are escaped above


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("card_templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": say_number, "share": say_share, "shorten": shorten}
    environment.globals |= {"say_side": say_side, "say_values": say_values}
    return environment
