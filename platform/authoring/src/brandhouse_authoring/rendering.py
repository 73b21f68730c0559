"""From the template and a brand's answers to the files of its folder.

Files that end in `.jinja` are rendered and lose that ending; so are the names of folders and files. Of a notebook the cells'
sources are rendered one by one, so that the template's notebook is a notebook itself and no quotation mark can break it.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from brandhouse_authoring.template import Template, TemplateError
from brandhouse_authoring.toml_text import toml_key, toml_value

if TYPE_CHECKING:
    from jinja2 import Environment

RENDERED = ".jinja"
LINE = 140
"""Longest line of a brand's code and declaration, as the workspace's linter has it."""


def render(template: Template, answers: Mapping[str, Any]) -> dict[str, bytes]:
    """Render every file of the template; return path below the brand's folder to content.

    Args:
        template: What is rendered.
        answers: Plain values, as `brandhouse_authoring.answers` names them.

    Raises:
        TemplateError: If a file asks for an answer that is not there, or is no valid template.
    """
    from jinja2 import TemplateError as JinjaError

    environment = _build_environment()
    rendered: dict[str, bytes] = {}
    for path, content in template.files.items():
        try:
            target = environment.from_string(path).render(answers).removesuffix(RENDERED)
            rendered[target] = _render_file(environment, path, content, answers)
        except (JinjaError, ValueError) as error:
            raise TemplateError(f"the template's {path} cannot be rendered: {type(error).__name__}: {str(error)[:300]}") from error
    return rendered


def _render_file(environment: "Environment", path: str, content: bytes, answers: Mapping[str, Any]) -> bytes:
    if path.endswith(".ipynb"):
        return _render_notebook(environment, content, answers)
    if path.endswith(RENDERED):
        return environment.from_string(content.decode("utf-8")).render(answers).encode()
    return content


def _render_notebook(environment: "Environment", content: bytes, answers: Mapping[str, Any]) -> bytes:
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        source = environment.from_string("".join(cell["source"])).render(answers)
        cell["source"] = source.removesuffix("\n").splitlines(keepends=True)
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _build_environment() -> "Environment":
    from jinja2 import Environment, StrictUndefined

    # The results are Python, TOML and Markdown; each has its own filter, and HTML's escapes would spoil them.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    environment.filters |= {
        "toml": toml_value,
        "toml_key": toml_key,
        "python": python_value,
        "names": python_names,
        "comment": comment,
        "sentence": sentence,
        "cell": table_cell,
        "shell_json": shell_json,
    }
    return environment


def python_value(value: Any) -> str:
    """Write a value as the formatter would: strings in the quotes that need fewer escapes, double ones otherwise."""
    match value:
        case str():
            body = json.dumps(value, ensure_ascii=False)[1:-1]
            if value.count('"') <= value.count("'"):
                return f'"{body}"'
            return "'" + body.replace('\\"', '"').replace("'", "\\'") + "'"
        case Mapping():
            return "{" + ", ".join(f"{python_value(key)}: {python_value(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(python_value(item) for item in value) + "]"
    return repr(value)


def python_names(names: Sequence[str], constant: str) -> str:
    """Write `CONSTANT = [...]`; what does not fit on one line is filled into several, instead of a line for each of 100 columns."""
    line = f"{constant} = {python_value(list(names))}"
    if len(line) <= LINE:
        return line
    filled, row = [], "   "
    for item in (f" {python_value(name)}," for name in names):
        if len(row) + len(item) > LINE:
            filled.append(row)
            row = "   "
        row += item
    return "\n".join([f"{constant} = [", *filled, row, "]  # fmt: skip"])


def comment(text: str, indent: str = "# ") -> str:
    """Wrap a text into comment lines."""
    return "\n".join(
        textwrap.wrap(" ".join(text.split()), LINE - 10, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    )


def sentence(text: str) -> str:
    """One line that is safe in a docstring: without quotation marks at its end, backslashes or line breaks."""
    flat = textwrap.shorten(text.replace("\\", "/").replace('"', "'"), LINE - 10, placeholder=" ...")
    return flat if flat.endswith((".", "!", "?")) else f"{flat}."


def table_cell(text: object) -> str:
    """A cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def shell_json(value: Any) -> str:
    """JSON that may stand between single quotes on a command line."""
    return json.dumps(value, ensure_ascii=False).replace("'", "\\u0027")
