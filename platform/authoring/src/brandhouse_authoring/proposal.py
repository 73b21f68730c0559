"""From a table of unknown origin to everything a brand folder needs: what is proposed, and why.

`propose` reads a file, `propose_from_frame` takes a query's result. Nothing is written here, and nothing is asked:
a person's answers come in as `keep` and `leave_out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brandhouse_authoring.column_names import as_name, find_column
from brandhouse_authoring.column_roles import Role
from brandhouse_authoring.decision_table import list_decisions
from brandhouse_authoring.decisions import Decision, Question
from brandhouse_authoring.number_forms import Forms, settle_forms
from brandhouse_authoring.profiling import ColumnProfile, profile_columns
from brandhouse_authoring.role_settling import SettledRoles, settle_roles
from brandhouse_authoring.slice_choice import choose_slices
from brandhouse_authoring.split_choice import first_that_works, rank_splits
from brandhouse_authoring.table_reading import read_unknown, texts_of
from brandhouse_authoring.task_choice import Goal, choose_goal
from brandhouse_flows.leakage import MAX_ROWS
from brandhouse_shared.config import BrandConfig, FieldType
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import check_name
from brandhouse_shared.ready.candidates import recommend

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Decision", "LeftOut", "Proposal", "Question", "propose", "propose_from_frame"]

MAX_BAD_SHARE = 0.02
"""Share of tomorrow's rows that may contradict the schema: they are put aside with the reason, and the rest is used."""

MAX_BESIDE_TEXTS = 3
"""Inputs beside free text up to which the words decide."""

_TAKE_MANY_VALUED = frozenset({"amounts", "prices", "counts", "yes_no"})
"""Ready modules that take categories of many values by their mean target."""

_SOME_OWNER = "someone"
"""Stands for the owner while the proposal is tried; the owner is asked for elsewhere."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is no input, and the line that would put it back.

    Attributes:
        column: Its own name.
        reason: In a few words, such as "the same in all rows".
        field: The declaration under `inputs` that puts it back; None if there is none that would work.
    """

    column: str
    reason: str
    field: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Proposal:
    """All that `brand.toml` and the model's module need, as data. Values that equal a default are left out.

    Attributes:
        brand: Name of the brand.
        model: Name of the model, a Python identifier.
        title: Name of the brand for people (a draft).
        story: One line: what it predicts (a draft).
        risk: low, medium or high: from the privacy of the inputs.
        dataset: Name of the dataset.
        data: Keys of `[datasets.<dataset>]` except `source` (for a file: file, format, separator, encoding, ...).
        source: Keys of `source`: `{"kind": "upload"}` for a file.
        task: What is learned.
        target: Column to predict, by its own name.
        positive: Positive class of a binary task, as in the data; None otherwise.
        metric: What versions are judged by.
        split: Keys of `split`.
        inputs: Column to the keys of its declaration.
        left_out: Columns that are no input, the target not among them.
        candidates: Name to `{"params": {...}, "space": {...}}`; `space` may be absent.
        search: Keys of `search`.
        gates: Keys of `gates`; empty where the defaults fit.
        slices: Columns to break the score down by.
        ready: Module below `brandhouse_shared.ready` that builds the estimator, such as "yes_no".
        numbers: Inputs that become numbers: numbers, integers, booleans.
        categories: Inputs that are categories.
        many_valued: Those of the categories that the estimator takes by the mean target of their value: they have many values.
        texts: Inputs that are free text.
        dates: Inputs that are dates.
        reasons: Key of `brand.toml` ("metric", "split", "search", ...) to one line for a comment beside it.
        decisions: The short table, in the order to be shown.
        questions: What only a person knows; answered by `keep` and `leave_out` of a further call.
        rows: Rows of the table.
        columns: Columns of the table.
        sampled_rows: Rows looked at where all would be too many; equal to `rows` if all were.
    """

    brand: str
    model: str
    title: str
    story: str
    risk: str
    dataset: str
    data: Mapping[str, Any]
    source: Mapping[str, Any]
    task: Task
    target: str
    positive: str | int | None
    metric: str
    split: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, Any]]
    left_out: tuple[LeftOut, ...]
    candidates: Mapping[str, Mapping[str, Any]]
    search: Mapping[str, Any]
    gates: Mapping[str, Any]
    slices: tuple[str, ...]
    ready: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    texts: tuple[str, ...]
    dates: tuple[str, ...]
    reasons: Mapping[str, str]
    decisions: tuple[Decision, ...]
    questions: tuple[Question, ...] = ()
    many_valued: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    sampled_rows: int = 0

    @property
    def entrypoint(self) -> str:
        """The model's module."""
        return f"brand_{self.brand}.{self.model}"

    def as_document(self, owner: str, budget_eur_month: float = 0) -> dict[str, Any]:
        """All of `brand.toml` as plain values, as `BrandConfig` takes it."""
        model = {
            "description": self.story,
            "entrypoint": self.entrypoint,
            "dataset": self.dataset,
            "task": self.task.value,
            "target": self.target,
            **({} if self.positive is None else {"positive": self.positive}),
            "metric": self.metric,
            **({"slices": list(self.slices)} if self.slices else {}),
            "split": dict(self.split),
            "inputs": {name: dict(declared) for name, declared in self.inputs.items()},
            "candidates": {name: dict(declared) for name, declared in self.candidates.items()},
            "search": dict(self.search),
            **({"gates": dict(self.gates)} if self.gates else {}),
        }
        return {
            "name": self.brand,
            "title": self.title,
            "story": self.story,
            "owner": owner,
            "risk": self.risk,
            "budget_eur_month": budget_eur_month,
            "datasets": {self.dataset: {**self.data, "source": dict(self.source)}},
            "models": {self.model: model},
        }


def propose(
    path: Path,
    target: str,
    *,
    name: str,
    model: str | None = None,
    header: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    task: Task | None = None,
) -> Proposal:
    """Read a table of unknown origin and propose a model for one of its columns.

    Args:
        path: CSV (any usual separator and encoding, also .gz and .bz2) or Parquet. Not changed.
        target: Column to predict; blanks at its ends and letter case are forgiven if one column only fits.
        name: Name of the brand.
        model: Name of the model; by default made from the target.
        header: Column names for a file without a header row, or to replace one that cannot be used.
        keep: Columns to keep as inputs although they would be left out.
        leave_out: Columns to leave out although they would be kept.
        task: What is to be learned; by default told from the target's values.

    Raises:
        DatasetError: If the file cannot be read, lacks the target, or holds too little to learn from.
        InvalidNameError: If the name of brand or model is no identifier.
    """
    reading = read_unknown(path, target, header)
    packing = path.suffix.lower() if path.suffix.lower() in (".gz", ".bz2") else ""
    dataset = as_name(path.name.split(".")[0], "rows")
    ending = "parquet" if reading.data.get("format") == "parquet" else f"csv{packing}"
    table = Table(dataset, {"file": f"data/{dataset}.{ending}", **reading.data}, {"kind": "upload"}, reading.columns, reading.decisions)
    return _propose(table, target, Wishes(name, model, tuple(keep), tuple(leave_out), task))


def propose_from_frame(
    rows: pd.DataFrame,
    target: str,
    *,
    name: str,
    source: Mapping[str, Any],
    data: Mapping[str, Any],
    dataset: str = "rows",
    model: str | None = None,
    keep: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    task: Task | None = None,
) -> Proposal:
    """Propose a model for a column of a query's result. See `propose`.

    Args:
        rows: The result. Not changed.
        target: Column to predict.
        name: Name of the brand.
        source: Keys of the dataset's `source`, such as `{"kind": "sql", "url_env": ..., "query": ...}`.
        data: Keys of the dataset except `source`: at least `file` and `format`, as snapshots of that source are written.
        dataset: Name of the dataset.
        model: Name of the model; by default made from the target.
        keep: Columns to keep as inputs although they would be left out.
        leave_out: Columns to leave out although they would be kept.
        task: What is to be learned; by default told from the target's values.
    """
    import pyarrow as pa

    columns = {str(column): texts_of(pa.array(rows[column], from_pandas=True)) for column in rows.columns}
    found = Decision("file", "a query's result", f"{len(rows):,} rows and {len(columns)} columns")
    table = Table(dataset, dict(data), dict(source), columns, (found,))
    return _propose(table, target, Wishes(name, model, tuple(keep), tuple(leave_out), task))


@dataclass(frozen=True)
class Table:
    """A table of texts, how it was read, and where it comes from."""

    dataset: str
    data: Mapping[str, Any]
    source: Mapping[str, Any]
    columns: Mapping[str, Any]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked for."""

    name: str
    model: str | None
    keep: tuple[str, ...]
    leave_out: tuple[str, ...]
    task: Task | None = None


def _propose(table: Table, wanted: str, wishes: Wishes) -> Proposal:
    check_name("brand", wishes.name)
    names = list(table.columns)
    target_name = find_column(wanted, names)
    model = check_name("model", wishes.model) if wishes.model else as_name(target_name, "model")
    for name in (*wishes.keep, *wishes.leave_out):
        find_column(name, names)
    forms = settle_forms(profile_columns(table.columns), str(table.data.get("separator", ",")))
    target = forms.profiles.pop(target_name)
    goal = choose_goal(target, wishes.task)
    settled = settle_roles(forms.profiles, target, goal, wishes.keep, wishes.leave_out)
    draft = _Draft(table, wishes, model, target, forms, goal, settled)
    return _complete(draft)


@dataclass(frozen=True)
class _Draft:
    """All decisions but the split, which is tried on the model as it is then."""

    table: Table
    wishes: Wishes
    model: str
    target: ColumnProfile
    forms: Forms
    goal: Goal
    settled: SettledRoles

    @property
    def inputs(self) -> dict[str, Role]:
        return {name: role for name, role in self.settled.roles.items() if role.is_input}

    def named(self, *types: FieldType) -> tuple[str, ...]:
        return tuple(name for name, role in self.inputs.items() if role.type in types)


def _complete(draft: _Draft) -> Proposal:
    goal, target, inputs = draft.goal, draft.target, draft.inputs
    texts = draft.named(FieldType.TEXT)
    ready = "topics" if texts and len(inputs) - len(texts) <= MAX_BESIDE_TEXTS and goal.task is not Task.REGRESSION else goal.ready
    many = tuple(name for name in draft.named(FieldType.CATEGORY) if ready in _TAKE_MANY_VALUED and inputs[name].many_valued)
    recommendation = recommend(ready, target.known)
    slices = choose_slices(draft.settled.roles, draft.forms.profiles, target, goal.truth, goal.task)
    proposal = Proposal(
        brand=draft.wishes.name,
        model=draft.model,
        title=draft.wishes.name.replace("_", " ").capitalize(),
        story=f"Predicts {target.name.strip()[:60]} from {len(inputs)} columns of {draft.table.dataset}.",
        risk=_risk(inputs),
        dataset=draft.table.dataset,
        data={**draft.table.data, **draft.forms.data, "max_bad_share": MAX_BAD_SHARE},
        source=draft.table.source,
        task=goal.task,
        target=target.name,
        positive=goal.positive,
        metric=goal.metric,
        split={"kind": "random"},
        inputs={name: dict(role.field) for name, role in inputs.items()},
        left_out=tuple(_left_out(role) for role in draft.settled.roles.values() if not role.is_input),
        candidates={
            name: candidate.model_dump(mode="json", exclude_defaults=True) for name, candidate in recommendation.candidates.items()
        },
        search=recommendation.search.model_dump(mode="json", exclude_defaults=True),
        gates={},
        slices=slices,
        ready=ready,
        numbers=draft.named(FieldType.NUMBER, FieldType.INTEGER, FieldType.BOOLEAN),
        categories=draft.named(FieldType.CATEGORY),
        many_valued=many,
        texts=texts,
        dates=draft.named(FieldType.DATE),
        reasons=goal.reasons,
        decisions=(),
        questions=tuple(role.question for role in draft.settled.roles.values() if role.question),
        rows=target.rows,
        columns=len(draft.forms.profiles) + 1,
        sampled_rows=MAX_ROWS if target.known > MAX_ROWS else target.rows,
    )
    return _with_split(proposal, draft)


def _with_split(proposal: Proposal, draft: _Draft) -> Proposal:
    document = proposal.as_document(_SOME_OWNER)
    model = BrandConfig.model_validate(document).models[proposal.model]
    truth = np.append(draft.goal.truth, np.nan)[draft.target.codes]
    choice = first_that_works(rank_splits(draft.settled.roles, draft.forms.profiles), model, draft.forms.profiles, truth)
    reasons = {**proposal.reasons, "split": choice.decision.why}
    file = (*draft.table.decisions, *draft.forms.decisions)
    decisions = list_decisions(file, draft.goal.decisions, choice.decision, draft.settled, _about_model(proposal), draft.target.known)
    return replace(proposal, split=choice.declared, reasons=reasons, decisions=decisions)


def _about_model(proposal: Proposal) -> list[Decision]:
    tried = ", ".join(proposal.candidates)
    slices = [Decision("slices", ", ".join(proposal.slices), "the score is also told for each of their values")] if proposal.slices else []
    return [
        Decision("estimator", f"ready.{proposal.ready}", f"tried: {tried}; {proposal.reasons.get('estimator', 'it fits the target')}"),
        *slices,
        Decision(
            "gates", "better than a baseline", "it must beat a constant and a linear model on held-out rows; no threshold is known yet"
        ),
        *(
            [Decision("risk", proposal.risk, "some inputs are about persons; say high if a person shall approve every version", True)]
            if proposal.risk != "low"
            else []
        ),
    ]


def _left_out(role: Role) -> LeftOut:
    works = role.type is not FieldType.TEXT or role.decision == "text"
    return LeftOut(role.name, role.left_out, dict(role.field) if works else None)


def _risk(inputs: Mapping[str, Role]) -> str:
    if any(role.is_protected for role in inputs.values()):
        return "high"
    return "low" if all("privacy" not in role.field for role in inputs.values()) else "medium"
