"""Which columns of a dataset may be shown with their values, by what `brand.toml` declares.

The strictest declaration of any model on the dataset counts. A column that no model declares is treated like a personal
one: what was left out of a model, such as a name or an address, was often left out for a reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from brandhouse_shared.config import BrandConfig, FieldType, ModelConfig, Privacy
from brandhouse_shared.metrics import Task


class Disclosure(StrEnum):
    """How much of a column's content may appear in a listing, a picture or a report."""

    PUBLIC = "public"
    """Values may be shown."""
    UNDECLARED = "undeclared"
    """No model declares it: only counts are shown."""
    PERSONAL = "personal"
    """Only counts are shown."""
    SENSITIVE = "sensitive"
    """Only counts are shown."""


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What is declared of one column.

    Attributes:
        disclosure: Whether values may be shown.
        type: As declared; None: not declared, to be told from the values.
        format: strptime format of a date.
    """

    disclosure: Disclosure
    type: FieldType | None = None
    format: str = "%Y-%m-%d"

    @property
    def shows_values(self) -> bool:
        """Whether values of the column may leave it."""
        return self.disclosure is Disclosure.PUBLIC


_STRICTER = {Privacy.PUBLIC: 0, Privacy.PERSONAL: 1, Privacy.SENSITIVE: 2}


def column_rules(config: BrandConfig, dataset: str, columns: Iterable[str], *, show_undeclared: bool = False) -> dict[str, ColumnRule]:
    """Return the rule of each column.

    Args:
        config: What the brand declares.
        dataset: Whose columns they are.
        columns: Their names.
        show_undeclared: Whether the person who asks takes it upon them to see columns that no model declares.
    """
    models = [model for model in config.models.values() if model.dataset == dataset]
    return {name: _rule_of(models, name, show_undeclared) for name in columns}


def _rule_of(models: list[ModelConfig], name: str, show_undeclared: bool) -> ColumnRule:
    fields = [model.inputs[name] for model in models if name in model.inputs]
    if fields:
        strictest = max(fields, key=lambda field: _STRICTER[field.privacy])
        return ColumnRule(Disclosure(strictest.privacy.value), strictest.type, strictest.format)
    for model in models:
        if name == model.target:
            return ColumnRule(Disclosure.PUBLIC, FieldType.NUMBER if model.task is Task.REGRESSION else FieldType.CATEGORY)
        if model.split.kind == "time" and name == model.split.by:
            return ColumnRule(Disclosure.PUBLIC, None)
        if name in model.slices:
            return ColumnRule(Disclosure.PUBLIC, None)
    return ColumnRule(Disclosure.PUBLIC if show_undeclared else Disclosure.UNDECLARED)
