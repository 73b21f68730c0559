"""Trials as one self-contained page: no script, nothing from the network, light and dark."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from brandhouse_serving.trial_listing import ListedTrial
from brandhouse_serving.trial_reports import TrialReport
from brandhouse_serving.trial_times import FIRST_MS, STEP
from brandhouse_shared.names import ModelKey

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 190, 96, 28
MAX_PAIRS = 20
_STYLE = """
:root { color-scheme: light dark; --ink: #1b2a2f; --paper: #fff; --one: #00796b; --two: #c2560c; --soft: #8aa0a6; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe9ea; --paper: #14191b; --one: #4db6ac; --two: #ffab70; --soft: #6d8288; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; } td.n { text-align: right; }
.harm { color: var(--two); font-weight: 600; } small { color: var(--soft); } svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } .axis { stroke: var(--soft); } .one { stroke: var(--one); fill: none; }
.two { stroke: var(--two); fill: none; } .limit { stroke: var(--two); stroke-dasharray: 4 3; }
.bar { fill: var(--one); } .over { fill: var(--two); }
"""


def render_trials(key: ModelKey, trials: Sequence[ListedTrial]) -> str:
    """Render the trials of one model."""
    body = "".join(_section(one) for one in trials) or "<p>No version is or was in shadow or canary.</p>"
    title = escape(f"Trials of {key}")
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return f"{head}<body><h1>{title}</h1>{body}</body></html>\n"


def _section(one: ListedTrial) -> str:
    share = "" if one.share is None else f", {100 * one.share:.3g} % of the requests"
    until = "goes on" if one.ended is None else f"until {one.ended.at:%Y-%m-%d %H:%M} UTC"
    heading = f"<h2>v{one.version.number}: {escape(one.stage)}{share}</h2>"
    mark = ' class="harm"' if one.report is not None and one.report.is_harmful else ""
    said = f"<p><small>since {one.since.at:%Y-%m-%d %H:%M} UTC, {until}</small></p><p{mark}>{escape(one.verdict)}</p>"
    end = "" if one.ended is None else f"<p>Then {escape(one.ended.to)}, by {escape(one.ended.actor)}: {escape(one.ended.reason)}</p>"
    return heading + said + end + ("" if one.report is None else _details(one.report))


def _details(report: TrialReport) -> str:
    parts = [_evidence(report)]
    if report.stage == "canary":
        parts += [_sides(report), _times({"canary": report.canary.times, "production": report.beside.times})]
    elif sum(report.compared.times):
        parts.append(_times({"shadow": report.compared.times}))
    return "".join([*parts, _compared(report)])


def _sides(report: TrialReport) -> str:
    rows = [
        (name, side.answers, side.failures, _percent(side.failure_share), _percent(side.slow_share), _ms(side.p50_ms), _ms(side.p99_ms))
        for name, side in ((f"v{report.version}, canary", report.canary), (f"v{report.production}, production", report.beside))
    ]
    return _table(("", "answers", "failures", "failed", "slow", "p50", "p99"), rows)


def _compared(report: TrialReport) -> str:
    compared = report.compared
    heading = f"<h3>Compared with production: {compared.rows:,} rows, {_percent(compared.share)} differ</h3>"
    numbers = (
        ""
        if compared.mean_difference is None
        else f"<p>mean difference {compared.mean_difference:.4g}, largest {compared.max_difference:.4g}</p>"
    )
    pairs = _table(("production", f"v{report.version}", "rows"), compared.pairs[:MAX_PAIRS]) if compared.pairs else ""
    plot = "" if compared.pairs or not compared.rows else _lines("Differences of the number, rows", {"rows": compared.differences}, "")
    left = _table(("not compared", "requests"), list(compared.uncompared.items())) if compared.uncompared else ""
    ids = "".join(f"<li><code>{escape(example)}</code></li>" for example in compared.examples)
    return heading + numbers + pairs + plot + left + (f"<h4>Predictions that differ</h4><ul>{ids}</ul>" if ids else "")


def _evidence(report: TrialReport) -> str:
    """One bar a test, on a logarithmic scale, up to the line at which the canary is stopped."""
    top = max(10 * report.harm_odds, *report.evidence.values())
    bars = "".join(_bar(place, name, odds, top, report.harm_odds) for place, (name, odds) in enumerate(report.evidence.items()))
    limit = _along(report.harm_odds, top)
    height = 34 * len(report.evidence) + BOTTOM
    line = f'<line class="limit" x1="{limit}" x2="{limit}" y1="0" y2="{height - BOTTOM}"/>'
    text = f'<text x="{limit}" y="{height - 8}" text-anchor="middle">{report.harm_odds:,.0f} : 1 stops a canary</text>'
    alarm = f"A harmless canary is stopped with a probability of {_percent(report.false_alarm_rate)} at most, however often one looks."
    return f"<h3>Evidence of harm</h3>{_svg(height, bars + line + text, 'Evidence of harm, per test')}<p><small>{alarm}</small></p>"


def _bar(place: int, name: str, odds: float, top: float, limit: float) -> str:
    y, end = 34 * place + 6, max(LEFT + 2.0, _along(odds, top))
    label = f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
    kind = "over" if odds >= limit else "bar"
    return f'{label}<rect class="{kind}" x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="22"/>'


def _along(odds: float, top: float) -> float:
    share = math.log(max(1.0, odds)) / math.log(top)
    return round(LEFT + share * (WIDTH - LEFT - 90), 1)


def _times(sides: Mapping[str, Sequence[int]]) -> str:
    return _lines("Answers by milliseconds", sides, " ms")


def _lines(title: str, sides: Mapping[str, Sequence[int]], unit: str) -> str:
    """Shares per step, one line a side, on a logarithmic axis that begins and ends where there is something."""
    filled = [step for counts in sides.values() for step, count in enumerate(counts) if count]
    if not filled:
        return ""
    first, last = min(filled), max(filled) + 1
    highest = max(max(counts) / sum(counts) for counts in sides.values() if sum(counts))
    paths = "".join(
        f'<path class="{kind}" stroke-width="2" d="{_path(counts[first : last + 1], highest)}"/>'
        for kind, counts in zip(("one", "two"), sides.values(), strict=False)
        if sum(counts)
    )
    names = "".join(
        f'<text x="{WIDTH - 8}" y="{16 + 16 * place}" text-anchor="end" style="fill: var(--{kind})">{escape(name)}</text>'
        for place, (kind, name) in enumerate(zip(("one", "two"), sides, strict=False))
    )
    axis = f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    ends = _end(LEFT, first, unit, "start") + _end(WIDTH, last, unit, "end")
    return f"<h3>{escape(title)}</h3>{_svg(HEIGHT, axis + paths + names + ends, title)}"


def _end(x: int, step: int, unit: str, anchor: str) -> str:
    return f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">{FIRST_MS * STEP**step:.3g}{unit}</text>'


def _path(counts: Sequence[int], highest: float) -> str:
    total, width = sum(counts), (WIDTH - LEFT) / max(1, len(counts))
    points = []
    for place, count in enumerate(counts):
        y = (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 12) * count / total / highest
        points += [f"{LEFT + place * width:.1f} {y:.1f}", f"{LEFT + (place + 1) * width:.1f} {y:.1f}"]
    return "M" + " L".join(points)


def _svg(height: int, content: str, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f'<td class="n">{value:,}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"
