"""What a trained version is made of, how it is addressed, and the store that keeps it.

An artifact is a folder of files, named by the SHA-256 of their names and bytes, and never changed. Its
`manifest.json` says everything that serving needs; serving reads no brand folder for a compiled version.
"""

import hashlib
import importlib
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from brandhouse_shared.config import InputField, Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

MANIFEST_FILE = "manifest.json"
ONNX_FILE = "model.onnx"
SKOPS_FILE = "model.skops"
SAMPLE_FILE = "sample.json"
BACKGROUND_FILE = "background.json"
"""Rows that explained answers are compared with; missing in artifacts of older releases."""
CARD_MARKDOWN_FILE = "card.md"
CARD_HTML_FILE = "card.html"


class Runtime(StrEnum):
    """What answers for a version."""

    COMPILED = "compiled"
    """ONNX Runtime; features and estimator in one graph, no brand code."""
    PYTHON = "python"
    """skops with audited types and the brand's `build_features`; a process of the brand's own."""
    CONSTANT = "constant"
    """The training data's median, or the shares of its classes: model zero and last resort."""


class GraphInput(BaseModel):
    """One input of a compiled graph: a field, and what is done to it before the graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    transform: Literal["number", "text", "lower", "strip", "clean", "days"]
    """number: float64; text: str; lower: lower-cased str (ONNX depends on the machine's locale there); strip: str without
    blanks at both ends; clean: stripped and lower-cased; days: float64 days since 1970-01-01 of a date, NaN if missing."""


class Manifest(BaseModel):
    """Everything serving needs to know of one artifact.

    Scores of the three runtimes mean the same: a regression answers one number a row; a classifier answers the
    probabilities of `classes`, in that order, and the label is the most probable class (the first, if several are).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    brand: str
    model: str
    task: Task
    target: str
    runtime: Runtime
    reason: str
    """Why this runtime: the agreement measured, or what did not compile."""
    inputs: dict[str, InputField]
    """The input schema at training time; what requests are checked against."""
    graph_inputs: tuple[GraphInput, ...] = ()
    """Compiled only: what the graph takes, the n-th as input `in_<n>` of shape (rows, 1)."""
    classes: tuple[Scalar, ...] = ()
    """Class labels as in the data, in the order of the probabilities. Empty for regression."""
    positive: Scalar | None = None
    constant: tuple[float, ...]
    """The fallback answer: one number, or one probability per class."""
    entrypoint: str
    """Module with `build_features`; used by the python runtime only."""
    code_digest: str
    """SHA-256 of the brand's Python files at training, and of the ready modules that they use; the python runtime refuses other code."""
    code_files: dict[str, str] = {}
    """Python runtime only: the brand's package at training, path below its package folder to text; the ready modules that it
    uses as `@ready/<module>.py`."""

    @property
    def key(self) -> ModelKey:
        """The model this artifact belongs to."""
        return ModelKey(self.brand, self.model)

    @property
    def contract(self) -> Contract:
        """The input schema at work."""
        return Contract(self.inputs)


class ArtifactStore(Protocol):
    """Keeps artifacts by digest. The one implementation is named in the settings."""

    def save(self, key: ModelKey, folder: Path, labels: dict[str, str]) -> str:
        """Copy a finished folder into the store and return its digest. Saving the same content twice is one artifact."""

    def find(self, key: ModelKey, digest: str) -> Path:
        """Return the stored folder after checking every byte against the digest.

        Raises:
            ArtifactCorruptError: If it is missing or altered.
        """

    def delete(self, key: ModelKey, digest: str) -> None:
        """Remove one artifact; no error if it is not there."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a stored artifact.

    Raises:
        ArtifactCorruptError: If it is missing or not of a format this release knows.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise ArtifactCorruptError(folder.name, f"its manifest cannot be read ({type(error).__name__})") from error


def folder_digest(folder: Path) -> str:
    """SHA-256 over the sorted paths and bytes of all files in `folder`, except the store's own `model.yaml`."""
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.rglob("*") if item.is_file() and item.name != "model.yaml"):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def load_artifact_store(settings: Settings) -> ArtifactStore:
    """Build the store that the settings name as `module:class`."""
    module, _, name = settings.artifact_store.partition(":")
    store: Any = getattr(importlib.import_module(module), name)
    return cast(ArtifactStore, store(settings.home))


def preload_artifact_store(settings: Settings) -> None:
    """Import what saving needs, if the store's module has an `import_engine`; for a process that forks many runs."""
    module = importlib.import_module(settings.artifact_store.partition(":")[0])
    getattr(module, "import_engine", lambda: None)()
