"""What a change of a brand's own files means for that brand; never for another."""

import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import tomli
from pydantic import ValidationError

from brandhouse_authoring.touches import Action, Touch
from brandhouse_flows.planning import DATASET_NOT_FINGERPRINTED, NOT_FINGERPRINTED
from brandhouse_shared.config import BrandConfig, Dataset, ModelConfig

TEST = frozenset({Action.TEST})
TRAIN = frozenset({Action.TEST, Action.TRAIN})
DEPLOY = frozenset({Action.TEST, Action.DEPLOY})
EVERYTHING = frozenset(Action)
GONE = frozenset({Action.DEPLOY})

KEPT_OUT_OF_RUNS = frozenset({"owner", "budget_eur_month"})
"""Keys of a brand that neither a deployment nor the gateway reads."""


def read_declaration(content: bytes | None) -> BrandConfig | None:
    """Parse a `brand.toml` of any revision; None where there is none, or this release cannot read it."""
    try:
        return None if content is None else BrandConfig.model_validate(tomli.loads(content.decode("utf-8")))
    except (ValueError, ValidationError):
        return None


def brand_touches(brand: str, folder: Path, files: list[str], old: dict[str, bytes]) -> Iterator[Touch]:
    """Yield what the changed files of a brand mean.

    Args:
        brand: The folder's name.
        folder: The brand's, as it is now; may be gone.
        files: Changed paths below the folder.
        old: What `brand.toml` and `pyproject.toml` held before, where they existed.
    """
    if not (folder / "brand.toml").is_file():
        if "brand.toml" in old:
            yield Touch(brand, GONE, "the brand is gone", "brand.toml was removed", ())
        return
    if "brand.toml" in files and "brand.toml" not in old:
        yield Touch(brand, EVERYTHING, "a new brand", f"brands/{brand}")
        return
    for file in files:
        if file == "brand.toml":
            new = (folder / file).read_bytes()
            yield from _declaration_touches(brand, read_declaration(old[file]), read_declaration(new))
        elif file == "pyproject.toml":
            yield _project_touch(brand, old.get(file, b""), folder / file)
        else:
            yield from _file_touch(brand, file)


def _file_touch(brand: str, file: str) -> Iterator[Touch]:
    path = PurePosixPath(file)
    if path.parts[0] == "src":
        yield Touch(brand, TRAIN, "code", file)
    elif path.parts[0] == "data" and path.suffix == ".dvc":
        yield Touch(brand, TRAIN, "another snapshot of the data", file)
    elif path.parts[0] == "tests":
        yield Touch(brand, TEST, "tests", file)
    elif path.suffix == ".ipynb":
        yield Touch(brand, TEST, "notebook", file)
    elif path.suffix != ".md" and path.name != ".gitignore":
        yield Touch(brand, TEST, "files of the folder", file)


def _project_touch(brand: str, old: bytes, path: Path) -> Touch:
    new = path.read_bytes() if path.is_file() else b""
    if _dependencies(old) == _dependencies(new):
        return Touch(brand, TEST, "files of the folder", "pyproject.toml")
    return Touch(brand, TRAIN, "dependencies", "pyproject.toml")


def _dependencies(content: bytes) -> list[str] | None:
    try:
        return sorted(tomllib.loads(content.decode("utf-8")).get("project", {}).get("dependencies", []))
    except (ValueError, AttributeError, TypeError):
        return None


def _declaration_touches(brand: str, old: BrandConfig | None, new: BrandConfig | None) -> Iterator[Touch]:
    if new is None:
        yield Touch(brand, TEST, "the declaration is not valid", "`brandhouse check` says why")
    elif old is None:
        yield Touch(brand, EVERYTHING, "what was declared before cannot be read by this release", "brand.toml")
    elif old == new:
        yield Touch(brand, TEST, "the same declaration in other words", "brand.toml")
    else:
        yield from _key_touches(brand, old, new)
        yield from _dataset_touches(brand, old, new)
        yield from _model_touches(brand, old, new)


def _key_touches(brand: str, old: BrandConfig, new: BrandConfig) -> Iterator[Touch]:
    for key in BrandConfig.model_fields.keys() - {"datasets", "models"}:
        if getattr(old, key) != getattr(new, key):
            is_kept_out = key in KEPT_OUT_OF_RUNS
            yield Touch(
                brand, TEST if is_kept_out else DEPLOY, "declared about the brand" if is_kept_out else "declared for operation", key, ()
            )


def _dataset_touches(brand: str, old: BrandConfig, new: BrandConfig) -> Iterator[Touch]:
    for name, dataset in new.datasets.items():
        before = old.datasets.get(name)
        if before == dataset:
            continue
        users = tuple(model for model, declared in new.models.items() if declared.dataset == name)
        path = f"datasets.{name}"
        if before is None or _reading_of(before) != _reading_of(dataset):
            yield Touch(brand, TRAIN if users else TEST, "declared for reading the data", path, users)
        elif before.schedule != dataset.schedule:
            yield Touch(brand, DEPLOY, "declared for operation", f"{path}.schedule", ())
        else:
            yield Touch(brand, TEST, "declared for ingestion", path, ())


def _reading_of(dataset: Dataset) -> dict[str, Any]:
    return dataset.model_dump(mode="json", exclude=DATASET_NOT_FINGERPRINTED)


def _model_touches(brand: str, old: BrandConfig, new: BrandConfig) -> Iterator[Touch]:
    for name in [name for name in old.models if name not in new.models]:
        yield Touch(brand, DEPLOY, "a model less", name, ())
    for name, model in new.models.items():
        before = old.models.get(name)
        if before is None:
            yield Touch(brand, EVERYTHING, "a new model", name, (name,))
            continue
        if _learnt_from(before) != _learnt_from(model):
            yield Touch(brand, TRAIN, "declared for learning", f"models.{name}", (name,))
        for key in sorted(NOT_FINGERPRINTED):
            if getattr(before, key) != getattr(model, key):
                yield Touch(brand, DEPLOY, "declared for operation", f"models.{name}.{key}", ())


def _learnt_from(model: ModelConfig) -> tuple[dict[str, Any], float | None]:
    """As in a training's fingerprint: of serving, the latency budget is a gate and counts."""
    return model.model_dump(mode="json", exclude=NOT_FINGERPRINTED), model.serving.latency_budget_ms
