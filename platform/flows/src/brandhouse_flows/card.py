"""The model card: what a version is, what it was made of, how good it is, and where not to use it.

After Mitchell et al., Model Cards for Model Reporting (2019). One set of facts, two forms: a self-contained HTML page
(no script, nothing from the network) and compact Markdown for the run's artifact. Every value is escaped in both, since
names of columns, classes and owners may hold anything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from brandhouse_flows.fairness import FairnessReport
from brandhouse_flows.gates import GateResult, gates_passed
from brandhouse_flows.leakage import Leak
from brandhouse_flows.plots import Plot
from brandhouse_flows.prices import Usage, say_cost
from brandhouse_flows.reasons import Reasons
from brandhouse_flows.scores import ScoreReport
from brandhouse_flows.segments import Segment
from brandhouse_flows.slices import SliceScore
from brandhouse_flows.wording import say_interval, say_number, say_share, say_signed, shorten
from brandhouse_shared.config import BrandConfig, InputField, ModelConfig, Privacy, Risk
from brandhouse_shared.contracts import describe_allowed
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

MAX_MARKDOWN_BYTES = 400_000
"""Prefect keeps an artifact in its database and sends it whole; the card stays far below what its interface can show."""

MARKDOWN_PLOTS = 2
MARKDOWN_ROWS = 60
HTML_ROWS = 400

_TEMPLATES = Path(__file__).with_name("card_templates")
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]~])")


@dataclass(frozen=True)
class DataFacts:
    """The snapshot behind a version.

    Attributes:
        dataset: Its name in `brand.toml`.
        file: Path below the brand's folder.
        hash_md5: Content hash; the snapshot can be fetched again by it.
        rows_train: Rows learned from.
        rows_holdout: Rows judged on.
        rows_dropped: Rows without a target, used for neither.
        rows_quarantined: Rows that contradict the input schema, used for neither.
    """

    dataset: str
    file: str
    hash_md5: str
    rows_train: int
    rows_holdout: int
    rows_dropped: int = 0
    rows_quarantined: int = 0


@dataclass(frozen=True)
class CodeFacts:
    """The code behind a version.

    Attributes:
        git_commit: Of the repository.
        git_dirty: Whether files were changed and not committed.
        code_digest: Of the brand's own code.
        template_version: Of the training template.
        lock_hash: Of the file that pins every package.
        environment: Name to version of what matters, such as Python and scikit-learn.
    """

    git_commit: str
    git_dirty: bool
    code_digest: str
    template_version: str
    lock_hash: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CardData:
    """Everything a card tells.

    Attributes:
        brand: Gives title, story, owner, risk and capabilities.
        key: The model.
        version: `v7`, or "candidate" while the ledger has not allotted a number.
        estimator: Class name of the fitted estimator.
        candidate: Its name in `brand.toml`.
        params: Hyperparameters, after the search.
        seed: Of the fit.
        report: Score with intervals.
        gates: From `judge`.
        slices: From `slice_scores`.
        features: Single features by how well each alone predicts, best first (`rank_features`).
        data: The snapshot.
        code: The code.
        statistics: From `feature_statistics`.
        plots: From `draw_plots`, most telling first.
        runtime: onnx or skops.
        trained_seconds: Duration of the fit.
        usage: What search and fits used of the machine; None: it was not measured.
        segments: Comparison with production by slice and group, the greatest loss first.
        fairness: From `measure_fairness`.
        reasons: From `collect_reasons`.
        created_at: In UTC.
        run_url: Of the flow run; "local" without a server.
        intended_use: One or two sentences; by default from the brand's story.
        limits: Further sentences on where not to use it.
    """

    brand: BrandConfig
    key: ModelKey
    version: str
    estimator: str
    candidate: str
    params: Mapping[str, Any]
    seed: int
    report: ScoreReport
    gates: Sequence[GateResult]
    slices: Sequence[SliceScore]
    features: Sequence[Leak]
    data: DataFacts
    code: CodeFacts
    statistics: Mapping[str, Any]
    plots: Sequence[Plot]
    runtime: str
    trained_seconds: float
    created_at: datetime
    run_url: str = "local"
    intended_use: str = ""
    limits: Sequence[str] = ()
    usage: Usage | None = None
    segments: Sequence[Segment] = ()
    fairness: FairnessReport | None = None
    reasons: Reasons | None = None

    @property
    def cost(self) -> str:
        """What learning it cost, in words."""
        return say_cost(self.usage)

    @property
    def model(self) -> ModelConfig:
        """The model's declaration."""
        return self.brand.models[self.key.model]

    @property
    def passed(self) -> bool:
        """Whether the version may go to production."""
        return gates_passed(self.gates)


@dataclass(frozen=True)
class Card:
    """A rendered card: compact Markdown for the run's artifact, and a self-contained HTML page."""

    markdown: str
    html: str


def render_card(data: CardData) -> Card:
    """Render both forms. The Markdown leaves plots out rather than exceed `MAX_MARKDOWN_BYTES`."""
    facts = _facts(data)
    html = _environment(html=True).get_template("card.html.jinja").render(facts, plots=data.plots, row_limit=HTML_ROWS)
    for count in range(min(MARKDOWN_PLOTS, len(data.plots)), -1, -1):
        markdown = _environment(html=False).get_template("card.md.jinja").render(facts, plots=data.plots[:count], row_limit=MARKDOWN_ROWS)
        if len(markdown.encode()) <= MAX_MARKDOWN_BYTES:
            break
    return Card(markdown, html)


@lru_cache(maxsize=2)
def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=html,  # noqa: S701 -- Markdown is escaped by `finalize`: HTML's rules would miss pipes and backticks
        finalize=None if html else _escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markup": Markup, "number": say_number, "signed": say_signed, "share": say_share, "shorten": shorten}
    environment.globals |= {"interval": say_interval, "strip": _strip}
    return environment


def _escape_markdown(value: Any) -> str:
    """Escape one value for a line or a table cell of Markdown; what is marked as safe passes."""
    if isinstance(value, Markup):
        return value
    line = _MARKDOWN_SIGNS.sub(r"\\\1", _LINE_BREAKS.sub(" ", str(value)))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")


def _facts(data: CardData) -> dict[str, Any]:
    model = data.model
    return {
        "card": data,
        "brand": data.brand,
        "model": model,
        "report": data.report,
        "verdict": "passed its gates" if data.passed else "did not pass its gates",
        "created": f"{data.created_at:%Y-%m-%d %H:%M} UTC",
        "split": _say_split(model),
        "inputs": [_input_row(name, declared, data.statistics) for name, declared in model.inputs.items()],
        "intended_use": data.intended_use or f"{data.brand.story.rstrip('.')}. {model.description}".strip(),
        "limits": [*_limits(data), *data.limits],
        "span": _span(data),
        "worse": sum(segment.verdict == "worse" for segment in data.segments),
        "chance": round(2 / (1 - data.report.confidence)),
        "strongest": max((strength for _, strength in data.reasons.strengths), default=0.0) or 1.0 if data.reasons else 1.0,
    }


def _say_split(model: ModelConfig) -> str:
    held = f"{say_share(model.split.holdout_share)} held out"
    match model.split.kind:
        case "grouped":
            return f"{held}, no {model.split.by} on both sides"
        case "time":
            return f"{held}, the newest by {model.split.by}"
    return f"{held} at random, seed {model.split.seed}"


def _limits(data: CardData) -> list[str]:
    """Say what follows from the declaration and the measurements about where not to use the version."""
    model, unjudged = data.model, [item for item in data.slices if not item.judged]
    said = ["Requests outside the input schema below are refused, not guessed."]
    if not data.passed:
        said.append("It did not pass its gates: it is kept for comparison and not meant to serve.")
    if data.brand.risk is Risk.HIGH:
        said.append("A wrong prediction can do harm here (risk: high). A person decides; the prediction only informs.")
    if model.split.kind == "random" and data.brand.capabilities.gets_new_data:
        said.append("The hold-out was drawn at random: the score says nothing about how the model ages.")
    if data.fairness is None and any(declared.privacy is Privacy.SENSITIVE for declared in model.inputs.values()):
        said.append("Some inputs are sensitive, and no fairness is declared: whether groups are treated alike was not looked at.")
    if unjudged:
        said.append(f"{len(unjudged)} of {len(data.slices)} slices could not be judged; there its quality is unknown.")
    if model.task is not Task.REGRESSION:
        said.append("It knows only the classes it was trained on, and chooses one of them for anything.")
    if any(declared.privacy is not Privacy.PUBLIC for declared in model.inputs.values()):
        said.append("Some inputs are personal or sensitive: their values must stay out of logs and messages.")
    if not data.brand.capabilities.gets_labels:
        said.append("The brand gets no labels: after deployment its quality can be watched only indirectly.")
    return said


def _input_row(name: str, declared: InputField, statistics: Mapping[str, Any]) -> dict[str, str]:
    told = statistics.get("fields", {}).get(name, {})
    return {
        "name": name,
        "type": str(declared.type),
        "allowed": describe_allowed(declared),
        "privacy": str(declared.privacy),
        "missing": say_share(told.get("missing_share")),
        "seen": _say_statistics(told),
        "description": declared.description,
    }


def _say_statistics(told: Mapping[str, Any]) -> str:
    """One phrase on what the training rows held."""
    if told.get("coarse"):
        return "not shown"
    if "mean" in told:
        return f"mean {say_number(told['mean'])}, {say_interval(told['min'], told['max'])}"
    if "true_share" in told:
        return f"{say_share(told['true_share'])} true"
    if "top" in told:
        rows = sum(told["top"].values()) + told["other_rows"]
        top = ", ".join(f"{shorten(value, 24) or '(empty)'} {say_share(count / rows)}" for value, count in list(told["top"].items())[:3])
        return f"{told['distinct']:,} values: {top}"
    if "length" in told:
        return f"{say_number(round(told['length']['mean']))} characters on average"
    return f"{told['min'][:10]} to {told['max'][:10]}" if "min" in told else ""


def _span(data: CardData) -> tuple[float, float]:
    """The range that the slices' scores and intervals cover, for their bars."""
    drawn = [(item.low, item.high) for item in data.slices if item.low is not None and item.high is not None]
    edges = [edge for pair in [*drawn, (data.report.low, data.report.high)] for edge in pair if edge == edge]
    return (min(edges), max(edges)) if edges else (0.0, 1.0)


def _strip(item: SliceScore, whole: float, span: tuple[float, float]) -> dict[str, str] | None:
    """Places of interval, score and the whole's score in a bar, in percent of its width."""
    width = span[1] - span[0]
    if item.score is None or item.low is None or item.high is None or width <= 0:
        return None

    def place(value: float) -> float:
        return min(max(100 * (value - span[0]) / width, 0), 100)

    left = place(item.low)
    return {
        "left": f"{left:.1f}",
        "width": f"{place(item.high) - left:.1f}",
        "score": f"{place(item.score):.1f}",
        "whole": f"{place(whole):.1f}",
    }
