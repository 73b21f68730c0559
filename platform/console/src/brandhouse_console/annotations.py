"""Workflow commands of GitHub: lines that it shows beside the code of a change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Annotation:
    """One remark at a place.

    Attributes:
        file: Path below the repository, with slashes.
        message: May have several lines.
    """

    level: Literal["error", "warning", "notice"]
    file: str
    title: str
    message: str
    line: int | None = None
    column: int | None = None


def print_annotations(annotations: Sequence[Annotation]) -> None:
    """Print each as one line, `::error file=...,line=...,title=...::message`."""
    for annotation in annotations:
        print(format_annotation(annotation))


def format_annotation(annotation: Annotation) -> str:
    """Write one annotation as GitHub reads it: what ends a property or the line is escaped."""
    properties = {"file": annotation.file, "line": annotation.line, "col": annotation.column, "title": annotation.title}
    listed = ",".join(f"{name}={_escape_property(str(value))}" for name, value in properties.items() if value is not None)
    return f"::{annotation.level} {listed}::{_escape(annotation.message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
