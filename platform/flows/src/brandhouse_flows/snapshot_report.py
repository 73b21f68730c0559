"""The report of a snapshot's columns: one HTML page by skrub, kept beside the snapshot it describes.

Kept under the snapshot's hash and a digest of all that decides what may be seen, so that a column declared personal later
never stays visible: reports made by other rules are removed. Values of personal, sensitive and undeclared columns do not
reach skrub at all; of these the page tells counts.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from brandhouse_flows.column_values import PairedColumn, pair_column
from brandhouse_flows.content import write_whole
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.datasets import read_table
from brandhouse_flows.disclosure import ColumnRule, column_rules
from brandhouse_flows.wording import say_share, shorten
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import FieldType
from brandhouse_shared.settings import Settings

REPORT_VERSION = 1
"""Raised when a change here would show other things; older reports are then made anew."""

MAX_ROWS = 5_000
"""Rows that are described; of larger tables a random sample, and the page says so."""

MAX_COLUMNS = 80
"""Columns that are described; the others are counted."""

MAX_DRAWN = 20
"""With more columns than these the page has no pictures and no associations: they are most of its size and time."""

MAX_TEXT = 120
"""Characters of a text that are shown."""

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_INDENT = re.compile(r"[ \t]*\n\s*")


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report and what it covers.

    Attributes:
        path: The page.
        rows: Of the snapshot.
        described_rows: Fewer than `rows`: a random sample.
        shown: Columns whose values the page shows.
        hidden: Columns of which it shows counts only.
        left_out: Public columns beyond `MAX_COLUMNS`.
        html_bytes: Size of the page.
        seconds: It took to make.
    """

    path: str
    rows: int
    described_rows: int
    shown: int
    hidden: int
    left_out: int
    html_bytes: int
    seconds: float

    @property
    def summary(self) -> str:
        """One sentence."""
        sampled = f" (a random sample of {self.described_rows:,} is described)" if self.described_rows < self.rows else ""
        counted = f", {self.hidden} by counts only" if self.hidden else ""
        beyond = f", {self.left_out} left out" if self.left_out else ""
        return f"{self.rows:,} rows{sampled}; {self.shown} column(s) described{counted}{beyond}; {self.html_bytes / 1000:,.0f} kB"


def keep_report(settings: Settings, brand: Brand, dataset: str, hash_md5: str) -> KeptReport:
    """Return the report of a snapshot; made now if there is none by today's rules.

    Raises:
        DatasetError: If the snapshot cannot be fetched or read.
    """
    kept = find_report(settings, brand, dataset, hash_md5)
    if kept is not None:
        return kept
    facts = _facts_path(settings, brand, dataset, hash_md5)
    made = write_report(settings, brand, dataset, hash_md5, facts.with_suffix(".html"))
    write_whole(facts, json.dumps(asdict(made)))
    return made


def find_report(settings: Settings, brand: Brand, dataset: str, hash_md5: str) -> KeptReport | None:
    """Return the kept report of a snapshot, None if there is none by today's rules. Reports by other rules are removed."""
    facts = _facts_path(settings, brand, dataset, hash_md5)
    for path in (settings.home / "snapshots" / brand.name).glob(f"*/reports/{dataset}.*"):
        if path.stem != facts.stem:
            path.unlink(missing_ok=True)
    if not facts.is_file() or not facts.with_suffix(".html").is_file():
        return None
    return KeptReport(**json.loads(facts.read_text(encoding="utf-8")))


def write_report(settings: Settings, brand: Brand, dataset: str, hash_md5: str, path: Path, show_undeclared: bool = False) -> KeptReport:
    """Write the report of a snapshot to a file of the caller's choice.

    Raises:
        DatasetError: If the snapshot cannot be fetched or read.
    """
    started = time.monotonic()
    table = read_table(brand.config.datasets[dataset], DataProject(brand, settings).fetch(dataset, hash_md5))
    rules = column_rules(brand.config, dataset, table.columns, show_undeclared=show_undeclared)
    shown = [name for name in table.columns if rules[name].shows_values]
    sample = table[shown[:MAX_COLUMNS]]
    if len(sample) > MAX_ROWS:
        sample = sample.sample(MAX_ROWS, random_state=0).sort_index()
    html = _page(brand, dataset, hash_md5, table, sample, rules)
    write_whole(path, html)
    return KeptReport(
        path=str(path.resolve()),
        rows=len(table),
        described_rows=len(sample),
        shown=len(sample.columns),
        hidden=len(table.columns) - len(shown),
        left_out=len(shown) - len(sample.columns),
        html_bytes=len(html.encode()),
        seconds=round(time.monotonic() - started, 3),
    )


def _facts_path(settings: Settings, brand: Brand, dataset: str, hash_md5: str) -> Path:
    return settings.home / "snapshots" / brand.name / hash_md5 / "reports" / f"{dataset}.{_recipe(brand, dataset)}.json"


def _recipe(brand: Brand, dataset: str) -> str:
    """Digest of what decides the page, except the snapshot: how the file is read and which columns are shown."""
    from importlib.metadata import version

    seen = {"task", "inputs", "target", "slices", "split"}
    models = {key: one.model_dump(mode="json", include=seen) for key, one in brand.config.models.items() if one.dataset == dataset}
    declared = brand.config.datasets[dataset].model_dump(mode="json", exclude={"source"})
    document = json.dumps([REPORT_VERSION, version("skrub"), declared, models], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def _page(brand: Brand, dataset: str, hash_md5: str, table: pd.DataFrame, sample: pd.DataFrame, rules: Mapping[str, ColumnRule]) -> str:
    hidden = [name for name in table.columns if not rules[name].shows_values]
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            brand=brand.config,
            title=f"{brand.name}/{dataset}",
            hash_md5=hash_md5,
            rows=len(table),
            described_rows=len(sample),
            left_out=len(table.columns) - len(hidden) - len(sample.columns),
            hidden=[_counts(name, rules[name], table[name]) for name in hidden],
            described=Markup(_describe(sample, rules)) if len(sample.columns) else "",  # noqa: S704 - skrub escapes values and names
        )
    )


def _counts(name: str, rule: ColumnRule, column: "pd.Series[Any]") -> dict[str, Any]:
    return {"name": name, "why": str(rule.disclosure), "missing_share": float(column.isna().mean()), "distinct": int(column.nunique())}


def _describe(sample: pd.DataFrame, rules: Mapping[str, ColumnRule]) -> str:
    from skrub import TableReport  # type: ignore[import-untyped]

    typed = pd.DataFrame({str(name): _typed(str(name), rules[name], sample[name]) for name in sample.columns}, index=sample.index)
    drawn = len(typed.columns) <= MAX_DRAWN
    options = {"plot_distributions": drawn, "compute_associations": drawn, "open_tab": "distributions" if drawn else "stats"}
    report = TableReport(typed.reset_index(drop=True), verbose=0, **options)
    return _INDENT.sub("\n", _METADATA.sub("", report.html_snippet()))


def _typed(name: str, rule: ColumnRule, column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column as numbers, dates or texts, as declared or as its values look."""
    pair: PairedColumn = pair_column(name, rule, column, column.iloc[:0])
    if pair.is_measured:
        values = pd.Series(pair.measures).reindex(pair.before).set_axis(column.index)
        return pd.to_datetime(values, unit="D", origin="unix") if pair.type is FieldType.DATE else values
    return column.map(lambda text: None if text is None else shorten(text, MAX_TEXT))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("card_templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": say_share, "shorten": shorten}
    return environment
