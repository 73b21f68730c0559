"""What a brand's folder was rendered from, kept in the folder: template and answers, for later three-way merges.

The file `.template.toml` is committed with the brand and belongs to the platform: a person changes `brand.toml`, not it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_authoring.toml_text import toml_lines
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import FieldType, InputField, ModelConfig
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.invented import invent_rows

if TYPE_CHECKING:
    from brandhouse_authoring.proposal import LeftOut, Proposal

ANSWERS_FILE = ".template.toml"

_HEADING = "# Which template this folder was made from, and with which answers: `brandhouse upgrade` merges by it. Not edited by hand.\n"


class AnswersError(BrandhouseError):
    """A brand's answers file is missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a folder was rendered from.

    Attributes:
        template: Digest of the template.
        values: What was answered, as plain values.
        managed: For a folder that a person wrote: the files that follow the template. None: all files do.
    """

    template: str
    values: Mapping[str, Any]
    managed: tuple[str, ...] | None = None

    def at(self, template: str) -> "Answers":
        """The same answers to another template."""
        return replace(self, template=template)

    def as_text(self) -> str:
        """The content of the answers file."""
        head: dict[str, Any] = {"template": self.template}
        if self.managed is not None:
            head["managed"] = list(self.managed)
        return f"{_HEADING}{toml_lines(head)}\n[answers]\n{toml_lines(self.values, 'answers')}"


def read_answers(folder: Path) -> Answers:
    """Read a brand's answers file.

    Raises:
        AnswersError: If there is none, or it is not one.
    """
    path = folder / ANSWERS_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        managed = document.get("managed")
        return Answers(str(document["template"]), dict(document["answers"]), None if managed is None else tuple(map(str, managed)))
    except FileNotFoundError as error:
        raise AnswersError(
            f"{folder.name}: no {ANSWERS_FILE}, so it is not known what the folder was made from; for one that was written by hand: "
            f"`brandhouse upgrade {folder.name} --adopt`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise AnswersError(f"{folder.name}: {ANSWERS_FILE} cannot be read ({type(error).__name__}); restore it from Git") from error


def answer_from_proposal(proposal: "Proposal", *, owner: str, budget_eur_month: float, title: str | None = None) -> dict[str, Any]:
    """The answers of a folder that is made from a table."""
    kept = set(proposal.inputs)
    attention = {decision.subject: decision.why for decision in proposal.decisions if decision.attention and decision.subject in kept}
    return _without_none(
        {
            "brand": proposal.brand,
            "model": proposal.model,
            "title": title or proposal.title,
            "story": proposal.story,
            "description": proposal.story,
            "owner": owner,
            "risk": proposal.risk,
            "budget_eur_month": budget_eur_month,
            "dataset": proposal.dataset,
            "data": dict(proposal.data),
            "source": dict(proposal.source),
            "task": proposal.task.value,
            "target": proposal.target,
            "positive": proposal.positive,
            "metric": proposal.metric,
            "slices": list(proposal.slices),
            "split": dict(proposal.split),
            "inputs": {name: dict(field) for name, field in proposal.inputs.items()},
            "example": _invent_example({name: InputField.model_validate(dict(field)) for name, field in proposal.inputs.items()}),
            "attention": attention,
            "left_out": [_describe_left_out(item) for item in proposal.left_out],
            "candidates": {name: dict(candidate) for name, candidate in proposal.candidates.items()},
            "search": dict(proposal.search),
            "gates": dict(proposal.gates),
            "ready": proposal.ready,
            "numbers": list(proposal.numbers),
            "categories": list(proposal.categories),
            "many_valued": list(proposal.many_valued),
            "texts": list(proposal.texts),
            "dates": list(proposal.dates),
            "reasons": dict(proposal.reasons),
            "rows": proposal.rows,
            "sampled_rows": proposal.sampled_rows,
        }
    )


def _describe_left_out(item: "LeftOut") -> dict[str, Any]:
    return _without_none({"column": item.column, "reason": item.reason, "field": None if item.field is None else dict(item.field)})


def _invent_example(fields: Mapping[str, InputField]) -> dict[str, Any]:
    """One instance for a request that can be copied from the README; no value of the data."""
    return invent_rows(fields, 1)[0]


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


READY_BY_TASK = {"regression": "amounts", "binary": "yes_no", "multiclass": "classes"}


def answer_from_brand(brand: Brand) -> dict[str, Any]:
    """The answers that a hand-written folder comes nearest to: those of its first model."""
    name, model = next(iter(brand.config.models.items()))
    config = brand.config
    dataset = config.datasets[model.dataset].model_dump(mode="json", exclude_defaults=True)
    source = dataset.pop("source")
    return _without_none(
        {
            "brand": brand.name,
            "model": name,
            "title": config.title,
            "story": config.story,
            "description": model.description or config.story,
            "owner": config.owner,
            "risk": config.risk.value,
            "budget_eur_month": config.budget_eur_month,
            "dataset": model.dataset,
            "data": dataset,
            "source": source,
            "task": model.task.value,
            "target": model.target,
            "positive": model.positive,
            "metric": model.metric,
            "slices": list(model.slices),
            "split": model.split.model_dump(mode="json", exclude_defaults=True),
            "inputs": {column: field.model_dump(mode="json", exclude_defaults=True) for column, field in model.inputs.items()},
            "example": _invent_example(model.inputs),
            "attention": {},
            "left_out": [],
            "candidates": {key: item.model_dump(mode="json", exclude_defaults=True) for key, item in model.candidates.items()},
            "search": model.search.model_dump(mode="json", exclude_defaults=True),
            "gates": model.gates.model_dump(mode="json", exclude_defaults=True),
            "ready": READY_BY_TASK[model.task.value],
            **_columns_by_kind(model),
            "reasons": {},
            "rows": 0,
            "sampled_rows": 0,
        }
    )


def _columns_by_kind(model: ModelConfig) -> dict[str, list[str]]:
    kinds = {"categories": FieldType.CATEGORY, "texts": FieldType.TEXT, "dates": FieldType.DATE}
    numbers = [name for name, field in model.inputs.items() if field.is_numeric]
    return {"numbers": numbers} | {key: [name for name, field in model.inputs.items() if field.type is kind] for key, kind in kinds.items()}
