"""The card: complete, self-contained, and safe whatever the names hold."""

import re
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brandhouse_flows.card import MAX_MARKDOWN_BYTES, CardData, CodeFacts, DataFacts, render_card
from brandhouse_flows.fairness import FairnessReport, Gap, GroupScore
from brandhouse_flows.gates import GateResult
from brandhouse_flows.importance import Importance
from brandhouse_flows.leakage import Leak
from brandhouse_flows.plots import Plot, draw_plots, draw_reasons
from brandhouse_flows.reasons import Reasons
from brandhouse_flows.scores import bootstrap
from brandhouse_flows.segments import Segment
from brandhouse_flows.slices import SliceScore
from brandhouse_flows.statistics import feature_statistics
from brandhouse_shared.config import BrandConfig, Risk
from brandhouse_shared.contracts import Contract
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey
from brandhouse_shared.operation import Fairness

HOSTILE = "<script>alert(1)</script> | `rm` **b** [x](javascript:alert(2)) \"q\" 'a' & $x^_{ \n| --- | 漢"
MATHS = "$x^_{ 漢"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and whether every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is closed out of order"


def tiny_plot(size: int = 10) -> Plot:
    return Plot("comparison", "Score against baselines", "Bars are intervals.", b"\x89PNG" + bytes(size))


def make_card(name: str = "size", **changes: Any) -> CardData:
    brand = BrandConfig.model_validate(
        {
            "name": "tulpen",
            "title": "Tulpen",
            "story": "A grower of bulbs prices them by size.",
            "owner": "bulbs@example.org",
            "risk": "low",
            "budget_eur_month": 5,
            "datasets": {"bulbs": {"file": "data/bulbs.csv", "source": {"kind": "file", "path": "bulbs.csv"}}},
            "models": {
                "price": {
                    "entrypoint": "brand_tulpen.price",
                    "dataset": "bulbs",
                    "task": "regression",
                    "target": "answer",
                    "metric": "mae",
                    "inputs": {name: {"type": "number"}, "grower": {"type": "category", "privacy": "personal"}},
                    "slices": [name],
                }
            },
        }
    )
    generator = np.random.default_rng(0)
    truth = generator.normal(100, 10, 80)
    report = bootstrap("mae", truth, truth + generator.normal(0, 3, 80), {"dummy": np.full(80, 100.0)}, resamples=50)
    rows = pd.DataFrame({name: truth, "grower": ["Jansen"] * 80})
    card = CardData(
        brand=brand,
        key=ModelKey("tulpen", "price"),
        version="v7",
        estimator="Ridge",
        candidate="ridge",
        params={"alpha": 0.25},
        seed=11,
        report=report,
        gates=[GateResult("threshold", True, "mae 2.4; at most 3", 2.4, 3.0), GateResult("latency", None, "no budget", applicable=False)],
        slices=[
            SliceScore(name, "large", 50, 2.5, True, 2.1, 2.9),
            SliceScore(name, "tiny", 4, None, False, reason="too few rows (30 are needed)"),
        ],
        features=[Leak(name, 0.71)],
        data=DataFacts("bulbs", "data/bulbs.csv", "0cc175b9c0f1b6a831c399e269772661", 240, 80, 3),
        code=CodeFacts("3f2c9a8be7d1", True, "5feceb66ffc8", "2", "6b86b273ff34", {"python": "3.11.7"}),
        statistics=feature_statistics(rows, Contract(brand.models["price"].inputs)),
        plots=[tiny_plot()],
        runtime="onnx",
        trained_seconds=1.25,
        created_at=datetime(2025, 11, 22, 9, 30, tzinfo=UTC),
        run_url="http://127.0.0.1:4200/runs/flow-run/1",
    )
    return replace(card, **changes)


def make_hostile_card() -> CardData:
    card = make_card(
        HOSTILE, estimator=HOSTILE, candidate=HOSTILE, params={HOSTILE: HOSTILE}, version=HOSTILE, run_url="javascript:alert(3)"
    )
    brand = card.brand.model_copy(update={"title": HOSTILE, "story": HOSTILE, "owner": HOSTILE})
    report = replace(card.report, differences={HOSTILE: card.report.differences["dummy"]}, reason=HOSTILE)
    return replace(
        card,
        brand=brand,
        report=report,
        intended_use=HOSTILE,
        limits=[HOSTILE],
        gates=[GateResult("slices", False, HOSTILE)],
        slices=[SliceScore(HOSTILE, HOSTILE, 50, 2.5, True, 2.1, 2.9)],
        features=[Leak(HOSTILE, 0.99)],
        data=DataFacts(HOSTILE, HOSTILE, HOSTILE, 1, 1),
        code=CodeFacts(HOSTILE, False, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),
        plots=[replace(tiny_plot(), title="Score", caption=HOSTILE)],
    )


def table_widths(markdown: str) -> list[set[int]]:
    """Numbers of cells of the rows of each table; escaped pipes are entities and do not count."""
    tables = re.findall(r"(?:^\|.*\|$\n?)+", markdown, flags=re.MULTILINE)
    return [{line.count("|") for line in table.splitlines()} for table in tables]


@pytest.mark.parametrize("form", ["markdown", "html"])
@pytest.mark.parametrize(
    "fact",
    [
        "Tulpen",
        "A grower of bulbs",
        "bulbs@example.org",
        "v7",
        "Ridge",
        "alpha",
        "0.25",
        "0cc175b9c0f1b6a831c399e269772661",
        "3f2c9a8be7d1",
        "uncommitted changes",
        "5feceb66ffc8",
        "6b86b273ff34",
        "3.11.7",
        "2025-11-22 09:30 UTC",
        "240 learned from, 80 held out, 3 without a target dropped",
        "at most 3",
        "not applicable",
        "large",
        "too few rows (30 are needed)",
        "dummy",
        "personal",
        "not shown",
        "seed 11",
        "passed its gates",
        "Efron and Tibshirani",
        "4 of",
        "25 % held out at random",
        "http://127.0.0.1:4200/runs/flow-run/1",
        "Requests outside the input schema",
    ],
)
def test_both_forms_tell_the_same_facts(form: str, fact: str) -> None:
    text = getattr(render_card(make_card(gates=[*make_card().gates, GateResult("slices", True, "4 of 9 slices")])), form)
    assert fact in text.replace("\\_", "_").replace("\\", ""), f"{fact!r} is not in the {form}"


def test_failed_gates_are_the_verdict_of_both_forms() -> None:
    card = render_card(make_card(gates=[GateResult("threshold", False, "mae 9; at most 3")]))
    for text in (card.markdown, card.html):
        assert "did not pass its gates" in text
        assert "not meant to serve" in text
    assert "✗ **FAILED**" in card.markdown


def test_unknown_gate_is_no_pass_in_the_verdict() -> None:
    assert "did not pass its gates" in render_card(make_card(gates=[GateResult("latency", None, "not measured")])).html


def test_hostile_names_cannot_leave_their_place_in_html() -> None:
    page = Page(render_card(make_hostile_card()).html)
    assert not page.open, "every element is closed"
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, value in page.attributes if (value or "").startswith("javascript:")]


def test_html_has_as_many_elements_for_hostile_names_as_for_tame_ones() -> None:
    hostile = make_hostile_card()
    tame = replace(hostile, brand=make_card(HOSTILE).brand)
    assert Page(render_card(hostile).html).tags == Page(render_card(tame).html).tags


def test_hostile_names_cannot_leave_their_place_in_markdown() -> None:
    markdown = render_card(make_hostile_card()).markdown
    assert "<" not in markdown
    assert "[x](javascript" not in markdown
    assert "`rm`" not in markdown.replace("\\`rm\\`", "")
    assert all(len(widths) == 1 for widths in table_widths(markdown)), "a pipe in a name would add a cell"
    assert "\n&#124;" not in markdown, "a line break in a name would add a row"


def test_tables_of_the_markdown_are_well_formed() -> None:
    widths = table_widths(render_card(make_card()).markdown)
    assert len(widths) == 5
    assert all(len(width) == 1 for width in widths)


def test_html_needs_nothing_from_outside() -> None:
    card = render_card(make_card())
    page = Page(card.html)
    sources = [value or "" for name, value in page.attributes if name in ("src", "srcset", "data")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in card.html
    assert "url(" not in card.html
    assert "prefers-color-scheme: dark" in card.html


def test_only_web_addresses_become_links() -> None:
    assert '<a href="http://127.0.0.1:4200' in render_card(make_card()).html
    assert "<a " not in render_card(make_card(run_url="local")).html


def test_markdown_shows_two_plots_at_most_and_stays_small() -> None:
    assert render_card(make_card(plots=[tiny_plot()] * 5)).markdown.count("data:image/png") == 2
    assert render_card(make_card(plots=[tiny_plot()] * 5)).html.count("data:image/png") == 5
    heavy = render_card(make_card(plots=[tiny_plot(MAX_MARKDOWN_BYTES // 2)] * 2)).markdown
    assert heavy.count("data:image/png") == 1
    assert len(heavy.encode()) <= MAX_MARKDOWN_BYTES


def test_many_slices_are_cut_in_markdown_and_the_rest_is_told() -> None:
    slices = [SliceScore("town", f"town {number}", 50, 2.5, True, 2.1, 2.9) for number in range(100)]
    card = render_card(make_card(slices=slices))
    assert "40 more slices are in the HTML card." in card.markdown
    assert "town 99" in card.html


def test_values_of_personal_fields_are_not_on_the_card() -> None:
    card = render_card(make_card())
    assert "Jansen" not in card.html + card.markdown


def test_card_without_slices_plots_or_score_still_renders() -> None:
    unknown = float("nan")
    report = replace(make_card().report, score=unknown, low=unknown, high=unknown, reason="all rows are of one class", differences={})
    card = render_card(make_card(report=report, slices=(), plots=(), params={}, features=()))
    assert "all rows are of one class" in card.html
    assert "all rows are of one class" in card.markdown
    assert "unknown" in card.markdown


def test_high_risk_and_personal_data_are_said_among_the_limits() -> None:
    card = make_card()
    risky = replace(card, brand=card.brand.model_copy(update={"risk": Risk.HIGH}))
    assert "A person decides" in render_card(risky).markdown
    assert "personal or sensitive" in render_card(risky).markdown


@pytest.mark.parametrize("task", list(Task))
def test_plots_of_every_task_are_small_pictures_whatever_the_names_hold(task: Task) -> None:
    generator = np.random.default_rng(0)
    classes = {Task.REGRESSION: (), Task.BINARY: ("no", MATHS), Task.MULTICLASS: ("a", "$b^_{$", HOSTILE)}[task]
    if task is Task.REGRESSION:
        truth: Any = generator.normal(0, 1e5, 2_000)
        prediction: Any = truth + generator.normal(0, 2e4, 2_000)
    else:
        truth = generator.integers(0, len(classes), 500)
        prediction = generator.dirichlet(np.ones(len(classes)), 500)
    report = bootstrap("mae" if task is Task.REGRESSION else "log_loss", truth, prediction, {MATHS: prediction}, resamples=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots = draw_plots(task, truth, prediction, classes, report, [Importance(MATHS, 0.5), Importance("size", -0.1)], target=MATHS)
    assert plots[0].name == "comparison"
    assert {"importance"} < {plot.name for plot in plots}
    for plot in plots:
        assert plot.png.startswith(b"\x89PNG")
        assert len(plot.png) < 100_000, plot.name


def test_rare_positives_are_shown_by_precision_and_recall_common_ones_by_roc() -> None:
    prediction = np.random.default_rng(0).dirichlet([1, 1], 200)
    for positives, name in ((10, "precision-recall"), (100, "roc")):
        truth = (np.arange(200) < positives).astype(int)
        report = bootstrap("log_loss", truth, prediction, resamples=30)
        assert name in [plot.name for plot in draw_plots(Task.BINARY, truth, prediction, ("no", "yes"), report)]


def test_plots_survive_an_unknown_score_and_a_single_class() -> None:
    prediction = np.full((40, 2), 0.5)
    truth = np.zeros(40, dtype=int)
    report = bootstrap("roc_auc", truth, prediction, {"dummy": prediction}, resamples=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [plot.name for plot in draw_plots(Task.BINARY, truth, prediction, ("no", "yes"), report)]
    assert names == ["comparison", "calibration", "confusion"], "one class cannot be ranked against another"


def test_a_card_shows_groups_segments_and_reasons_with_every_name_escaped() -> None:
    fairness = FairnessReport(
        Fairness(fields=("region",), metric="absolute_error", max_gap=2.0, min_rows=50),
        0.95,
        [GroupScore("region", HOSTILE, 60, 3.0, True, 2.5, 3.5), GroupScore("region", "west", 5, None, False)],
        [Gap("region", None, None)],
    )
    segments = [Segment("region", HOSTILE, 60, 3.0, 2.0, -1.0, -1.5, -0.5), Segment("region", "west", 55, 2.0, 2.1, 0.1, -0.2, 0.4)]
    reasons = Reasons((HOSTILE, "size"), np.array([[2.0, -1.0], [-4.0, 0.0]]), np.full((2, 2), np.nan), (True, False))
    card = render_card(make_card(fairness=fairness, segments=segments, reasons=reasons))
    assert HOSTILE not in card.html and HOSTILE not in card.markdown
    for text in (card.markdown, card.html):
        for words in ("too few rows (50 are needed)", "1 of 2 segments are worse", "one in 40", "no difference shown", "2 hold-out rows"):
            assert words in text
    assert "| size | 0.5 |" in card.markdown
    assert all(len(widths) == 1 for widths in table_widths(card.markdown)), "a table has rows of different widths"


def test_reasons_are_drawn_as_dots_or_where_rows_are_private_as_ranges() -> None:
    generator = np.random.default_rng(0)
    contributions, places = generator.normal(size=(60, 14)), generator.random((60, 14))
    fields = (MATHS, *(f"field {one}" for one in range(13)))
    apart = draw_reasons(Reasons(fields, contributions, places, (True,) * 14), MATHS)
    ranges = draw_reasons(Reasons(fields, contributions, places * np.nan, (False,) * 14), MATHS)
    assert apart.png.startswith(b"\x89PNG") and apart.png != ranges.png
    assert "the strongest 12 of 14 fields" in apart.caption
    assert "single ones are not shown" in ranges.caption and "not shown" not in apart.caption
