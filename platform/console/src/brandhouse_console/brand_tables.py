"""The reference of `brand.toml` as Markdown: one section a table, from the declared classes and their docstrings.

Written from the JSON Schema, so that it says what editors and checks say. Nothing is described here: what a key means is
its docstring in `brandhouse_shared.config`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from brandhouse_console.docstrings import described_schema
from brandhouse_shared.config import BrandConfig
from brandhouse_shared.metrics import METRICS, Metric

Schema = dict[str, Any]

INTRODUCTION = """# Reference: `brand.toml`

Generated from `brandhouse_shared.config` by `make format`; `make lint` fails if it is stale. Editors can use
[the JSON Schema](brand.schema.json). An unknown key is an error. How to write one: [brands](../brands.md).
"""

LIMITS = {"minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}"}
LENGTHS = {"minLength": "length at least {}", "maxLength": "length at most {}"}


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file: where it stands, and its shape."""

    path: str
    schema: Schema


def brand_reference() -> str:
    """Markdown of all tables, in the order in which a brand meets them."""
    schema = described_schema(BrandConfig)
    definitions: dict[str, Schema] = schema["$defs"]
    sections = [_section(table, definitions) for table in _tables(_Table("", schema), definitions)]
    return "\n".join([INTRODUCTION, *sections, _metrics()])


def _metrics() -> str:
    lines = ["## Metrics", "", "What `metric` may be.", "", "| metric | tasks | better is | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_metric_row, METRICS.values()), ""])


def _metric_row(metric: Metric) -> str:
    better = "greater" if metric.greater_is_better else "smaller"
    return f"| `{metric.name}` | {', '.join(sorted(metric.tasks))} | {better} | {metric.description} |"


def _tables(table: _Table, definitions: dict[str, Schema]) -> Iterator[_Table]:
    """The table and all below it, each once."""
    yield table
    for name, field in table.schema["properties"].items():
        path = f"{table.path}.{name}" if table.path else name
        for suffix, shape in _parts(field):
            below = definitions.get(_definition_name(shape), {})
            if "properties" in below:
                yield from _tables(_Table(f"{path}{suffix}", below), definitions)


def _parts(field: Schema) -> list[tuple[str, Schema]]:
    """The shapes that a value of a field may have, each with what it adds to the path."""
    if isinstance(field.get("additionalProperties"), dict):
        return [(f".<name>{suffix}", shape) for suffix, shape in _parts(field["additionalProperties"])]
    alternatives = field.get("oneOf") or field.get("anyOf") or [field]
    return [("", shape) for shape in alternatives]


def _definition_name(shape: Schema) -> str:
    return str(shape.get("$ref", "")).removeprefix("#/$defs/")


def _section(table: _Table, definitions: dict[str, Schema]) -> str:
    required = table.schema.get("required", [])
    rows = [_row(name, field, name in required, definitions) for name, field in table.schema["properties"].items()]
    lines = [
        f"## {_heading(table)}",
        "",
        table.schema.get("description", ""),
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join([*lines, ""])


def _heading(table: _Table) -> str:
    kind = table.schema["properties"].get("kind", {}).get("const")
    where = f"`[{table.path}]`" if table.path else "Top level"
    return f"{where}, `kind = {_toml(kind)}`" if kind else where


def _row(name: str, field: Schema, is_required: bool, definitions: dict[str, Schema]) -> str:
    default = "required" if is_required else _default(field)
    cells = [f"`{name}`", _value(field, definitions), default, _meaning(field, definitions)]
    return "| " + " | ".join(_one_line(cell) for cell in cells) + " |"


def _default(field: Schema) -> str:
    default = field.get("default")
    if default is None or default == {}:
        return "none"
    return "as below" if isinstance(default, dict) else f"`{_toml(default)}`"


def _meaning(field: Schema, definitions: dict[str, Schema]) -> str:
    """The key's own docstring, or that of its class."""
    described = [field, *(definitions.get(_definition_name(shape), {}) for _, shape in _parts(field))]
    return next((str(shape["description"]) for shape in described if shape.get("description")), "")


def _value(field: Schema, definitions: dict[str, Schema]) -> str:
    if field.get("type") == "object":
        inner = field["additionalProperties"]
        return f"table of {_value(inner, definitions)}" if "$ref" not in inner else "one table a name"
    if field.get("type") == "array":
        return f"list of {_value(field['items'], definitions)}"
    alternatives = field.get("oneOf") or field.get("anyOf")
    if alternatives:
        return " or ".join(dict.fromkeys(_value(shape, definitions) for shape in alternatives if shape.get("type") != "null"))
    return _single(field, definitions)


def _single(field: Schema, definitions: dict[str, Schema]) -> str:
    shape = definitions.get(_definition_name(field), field)
    if "enum" in shape:
        return ", ".join(f"`{_toml(value)}`" for value in shape["enum"])
    if "const" in shape:
        return f"`{_toml(shape['const'])}`"
    if "properties" in shape:
        return "table"
    limits = [text.format(shape[key]) for key, text in {**LIMITS, **LENGTHS}.items() if key in shape]
    return ", ".join([str(shape.get("type", "any")), *limits])


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)


def _one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
