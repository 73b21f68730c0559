"""A staleness curve as one self-contained page: no script, nothing from the network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import brandhouse_flows.run_page
from brandhouse_aftercare.quality_plots import draw_curve
from brandhouse_aftercare.staleness_curve import AgePoint, StalenessCurve, say_curve
from brandhouse_flows.wording import say_interval, say_number, say_share, say_signed

_STYLE = Path(brandhouse_flows.run_page.__file__).with_name("card_templates") / "card.css"

HOW = (
    "Rows are put in order of time. A model is trained before each block of newer rows, always on as many rows and with the params of the "
    "version; within a block, older models and the fresh one answer the same rows. Intervals resample rows; blocks are few, and models of "
    "neighbouring ages share most of their rows."
)


def render_curve(curve: StalenessCurve, title: str) -> str:
    """Render the picture and its numbers.

    Args:
        curve: With at least one point.
        title: The brand's, for people.
    """
    plot = draw_curve(curve)
    rows = "".join(_row(point) for point in curve.points)
    heads = [f"{curve.unit} older", f"loss of {curve.metric}", "interval", "share", "blocks", "rows"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{curve.key}: staleness</title>
<style>{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header>
  <p class="path">{curve.key.brand} <span>/</span> <b>{curve.key.model}</b> <span>/</span> staleness</p>
  <h1>{escape(title)}</h1>
  <p class="story">{escape(say_curve(curve))}</p>
</header>
<section>
  <figure><h3>{escape(plot.title)}</h3>
  <img src="{plot.data_uri}" alt="{escape(plot.caption)}"><figcaption>{escape(plot.caption)}</figcaption></figure>
  <div class="wide"><table>
  <thead><tr>{_cells("th", heads)}</tr></thead>
  <tbody>{rows}</tbody>
  </table></div>
  <p class="quiet">{escape(HOW)}</p>
</section>
</main>
</body>
</html>
"""


def _row(point: AgePoint) -> str:
    cells = [
        say_number(round(point.age, 1)),
        say_signed(point.loss),
        say_interval(point.low, point.high),
        say_share(round(point.loss_share, 3)) if point.loss_share > 0 else f"-{say_share(round(-point.loss_share, 3))}",
        str(point.blocks),
        f"{point.rows:,}",
    ]
    return f"<tr>{_cells('td', cells)}</tr>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f'<{tag} class="n">{escape(text)}</{tag}>' for text in texts)
