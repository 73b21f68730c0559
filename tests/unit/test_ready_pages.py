"""Every ready module has a page, every example on it runs, and every page shows measured figures."""

import re
from pathlib import Path

import pandas as pd
import pytest

PAGES = Path(__file__).parents[2] / "docs" / "ready"
MODULES = ("amounts", "prices", "counts", "yes-no", "classes", "topics", "times", "texts")


@pytest.mark.parametrize("page", ["index", *MODULES])
def test_an_example_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks, f"{page} shows no example"
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), space := {"__name__": "example"})
    if page == "index":
        rows = pd.DataFrame({"length": [8.0], "booked": pd.to_datetime(["2026-03-01"]), "quay": ["n"], "story": [" Diep "]})
        assert list(space["build_features"](rows)["story"]) == ["diep"]
        assert space["build_estimator"]("linear", alpha=3.0).regressor[-1].alpha == 3.0
    else:
        assert capsys.readouterr().out.strip(), "an example shows something"


@pytest.mark.parametrize("page", MODULES)
def test_a_page_shows_figures_beside_a_baseline(page: str) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    figures = re.search(r"<!-- figures -->\n(.*?)<!-- end of figures -->", text, re.DOTALL)
    assert figures is not None
    assert len(re.findall(r"^\| .*\d\.\d+ \|$", figures[1], re.MULTILINE)) >= 3, "run `make bench-ready`"
    assert "the mean" in figures[1] or "the median" in figures[1] or "the share" in figures[1] or "the most frequent" in figures[1]
