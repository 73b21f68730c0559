"""What the attributes of declared classes mean: the strings below them, read from the source.

The classes could carry them as descriptions, at the price of reading their own source in every process that imports them.
"""

import ast
import inspect
import itertools
import textwrap
from typing import Any

from pydantic import BaseModel


def attribute_docstrings(declared: type[BaseModel]) -> dict[str, str]:
    """Attribute to docstring, of the class itself; an attribute without one is absent."""
    body = next(part for part in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(declared)))) if isinstance(part, ast.ClassDef)).body
    found = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and isinstance(following, ast.Expr):
            text = getattr(following.value, "value", None)
            if isinstance(text, str):
                found[statement.target.id] = inspect.cleandoc(text)
    return found


def described_schema(declared: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of a class and all that it holds, with the attributes' docstrings as descriptions."""
    schema = declared.model_json_schema()
    classes = {one.__name__: one for one in _family(declared.__mro__[1])}
    for name, part in [(declared.__name__, schema), *schema["$defs"].items()]:
        for attribute, text in attribute_docstrings(classes[name]).items() if name in classes else ():
            part["properties"][attribute]["description"] = text
    return schema


def _family(base: type[Any]) -> list[type[Any]]:
    found = [base]
    for one in base.__subclasses__():
        found += _family(one)
    return found
