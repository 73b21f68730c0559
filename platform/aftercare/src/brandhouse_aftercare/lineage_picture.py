"""The lineage as a picture: one column a kind, one box a node, a line for what came of what. Plain SVG, nothing loaded."""

from collections.abc import Mapping
from html import escape

from brandhouse_aftercare.lineage import KINDS, Lineage, Node

COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 330, 62, 290, 44, 24
LETTERS = 44
"""Of a line in a box; longer texts are cut, and whole in the box's title."""

COLOURS = {"snapshot": "#e0f2f1", "run": "#fff3e0", "version": "#e3f2fd", "stage": "#f3e5f5", "predictions": "#f1f8e9"}


def render_svg(lineage: Lineage) -> str:
    """Draw a graph."""
    places = _places(lineage)
    height = 2 * MARGIN + ROW * (1 + max((row for _, row in places.values()), default=0)) + ROW
    width = 2 * MARGIN + COLUMN * (len(KINDS) - 1) + WIDTH
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f"<title>Lineage of {escape(lineage.target)}</title>",
        f'<rect {size} fill="white"/>',
        *(f'<text x="{MARGIN + COLUMN * place}" y="{MARGIN}" font-weight="bold">{kind}</text>' for place, kind in enumerate(KINDS)),
        *(_line(places[edge.source], places[edge.target]) for edge in lineage.edges),
        *(_box(node, places[node.id]) for node in lineage.nodes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(lineage: Lineage) -> Mapping[str, tuple[int, int]]:
    """Column and row of each node: what has one successor stands beside it, so that most lines are straight."""
    places: dict[str, tuple[int, int]] = {}
    row = 0
    for root in lineage.roots:
        row = max(row + 1, _place(lineage, root, row, places))
    return places


def _place(lineage: Lineage, node: Node, row: int, places: dict[str, tuple[int, int]]) -> int:
    """Place a node and what came of it; return the next free row."""
    if node.id in places:
        return row
    places[node.id] = (KINDS.index(node.kind), row)
    free = row
    for target in lineage.targets_of(node):
        free = _place(lineage, target, free, places)
    return max(free, row + 1)


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return MARGIN + COLUMN * column, MARGIN + ROW // 2 + ROW * row


def _line(source: tuple[int, int], target: tuple[int, int]) -> str:
    (left, top), (right, bottom) = _corner(source), _corner(target)
    start, end, middle = left + WIDTH, right, (left + WIDTH + right) // 2
    above, below = top + HEIGHT // 2, bottom + HEIGHT // 2
    return f'<path d="M{start} {above} C{middle} {above} {middle} {below} {end} {below}" fill="none" stroke="#90a4ae"/>'


def _box(node: Node, place: tuple[int, int]) -> str:
    left, top = _corner(place)
    remarks = "; ".join(node.remarks)
    second = f'<text x="{left + 8}" y="{top + 36}" fill="#b71c1c">{escape(_cut(remarks))}</text>' if remarks else ""
    return (
        f"<g><title>{escape(node.label)}{escape(' - ' + remarks if remarks else '')}</title>"
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{COLOURS[node.kind]}" stroke="#90a4ae"/>'
        f'<text x="{left + 8}" y="{top + 18}">{escape(_cut(node.label))}</text>{second}</g>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
