"""Find brands and reach their code by name.

Reading a brand needs no machine learning library and does not run its code. `load_brand_module` is the only place
where brand code enters a process; brand packages are not on `sys.path`, so no brand can import another by accident.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

import tomli
from pydantic import ValidationError

from brandhouse_shared.config import BrandConfig, ModelConfig
from brandhouse_shared.errors import BrandConfigError, ConfigFault, EntrypointError, UnknownBrandError, UnknownModelError
from brandhouse_shared.names import NAME_RULE, ModelKey, is_name
from brandhouse_shared.ready_sources import PREFIX as READY_PREFIX
from brandhouse_shared.ready_sources import ready_files_of, refresh_ready

MAX_BRAND_TOML_BYTES = 1_000_000


class ModelCode(Protocol):
    """What a model's module offers: the two questions a brand answers in Python."""

    def build_features(self, rows: Any) -> Any:
        """Turn typed rows (one column per input field) into a feature frame with the same index."""

    def build_estimator(self, **params: Any) -> Any:
        """Return an unfitted scikit-learn estimator."""


@dataclass(frozen=True, slots=True)
class Brand:
    """One folder under `brands/`."""

    folder: Path
    config: BrandConfig

    @property
    def name(self) -> str:
        """The brand's name, equal to its folder's."""
        return self.config.name

    @property
    def source_dir(self) -> Path:
        """The folder of the brand's Python package."""
        return self.folder / "src" / f"brand_{self.name}"

    @property
    def model_keys(self) -> list[ModelKey]:
        """Keys of all declared models, in the order of `brand.toml`."""
        return [ModelKey(self.name, model) for model in self.config.models]

    def model(self, name: str) -> ModelConfig:
        """Return one declared model.

        Raises:
            UnknownModelError: If the brand declares no such model.
        """
        try:
            return self.config.models[name]
        except KeyError:
            raise UnknownModelError(self.name, name, list(self.config.models)) from None


def brand_folders(brands_dir: Path) -> list[Path]:
    """Folders that are brands: those with a `brand.toml`, sorted by name."""
    return sorted(path.parent for path in brands_dir.glob("*/brand.toml"))


def discover_brands(brands_dir: Path) -> tuple[list[Brand], list[BrandConfigError]]:
    """Read every brand. A broken one is returned as its error, and never hides the others."""
    brands: list[Brand] = []
    errors: list[BrandConfigError] = []
    for folder in brand_folders(brands_dir):
        try:
            brands.append(read_brand(folder))
        except BrandConfigError as error:
            errors.append(error)
    return brands, errors


def find_brand(brands_dir: Path, name: str) -> Brand:
    """Read one brand by name.

    Raises:
        UnknownBrandError: If no folder of that name holds a `brand.toml`.
        BrandConfigError: If its `brand.toml` is not valid.
    """
    folder = brands_dir / name
    if not is_name(name) or not (folder / "brand.toml").is_file():
        raise UnknownBrandError(name, [path.name for path in brand_folders(brands_dir)])
    return read_brand(folder)


def read_brand(folder: Path) -> Brand:
    """Read and validate `brand.toml` of one folder.

    Raises:
        BrandConfigError: With every problem found.
    """
    name = folder.name
    try:
        raw = (folder / "brand.toml").read_bytes()
        if len(raw) > MAX_BRAND_TOML_BYTES:
            raise BrandConfigError(name, [_file_fault(f"brand.toml has {len(raw)} bytes; allowed: {MAX_BRAND_TOML_BYTES}")])
        document = tomli.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BrandConfigError(name, [_file_fault(f"brand.toml cannot be read: {error}")]) from error
    except tomli.TOMLDecodeError as error:
        raise BrandConfigError(name, [ConfigFault("toml-syntax", (), f"brand.toml is no valid TOML: {error}")]) from error
    faults = list(_name_faults(name, document.get("name")))
    try:
        config = BrandConfig.model_validate(document)
    except ValidationError as error:
        raise BrandConfigError(name, [*faults, *_describe(error, document)]) from error
    if faults:
        raise BrandConfigError(name, faults)
    return Brand(folder, config)


def _file_fault(what: str) -> ConfigFault:
    return ConfigFault("brand-toml-readable", (), what)


def _name_faults(folder_name: str, declared: object) -> Iterator[ConfigFault]:
    if not is_name(folder_name):
        yield ConfigFault("brand-name", ("name",), f"folder {folder_name!r} is no identifier; allowed: {NAME_RULE}")
    if isinstance(declared, str) and declared != folder_name:
        what = f"name: {declared[:80]!r} must equal the folder's name {folder_name!r}; two brands cannot share a name"
        yield ConfigFault("brand-name", ("name",), what)


def _describe(error: ValidationError, document: dict[str, Any]) -> Iterator[ConfigFault]:
    for item in error.errors(include_url=False, include_input=False):
        path = _declared_path(item["loc"], document)
        where = ".".join(path) or "brand.toml"
        message = item["msg"].removeprefix("Value error, ")
        kind = {"extra_forbidden": "unknown-key", "missing": "missing-key"}.get(item["type"], "wrong-value")
        if kind == "unknown-key":
            message = "unknown key; remove it or correct its name"
        # A validator of a whole table reports all its problems in one error, a line each.
        yield from (ConfigFault(kind, path, f"{where}: {line}") for line in message.split("\n"))


def _declared_path(location: Sequence[int | str], document: Any) -> tuple[str, ...]:
    """Keys as they are written: without the name of the chosen alternative that the validation puts among them."""
    path, node = [], document
    for depth, part in enumerate(location):
        is_alternative = isinstance(node, dict) and node.get("kind") == part and depth + 1 < len(location)
        if not is_alternative:
            path.append(str(part))
            node = node.get(part) if isinstance(node, dict) else None
    return tuple(path)


def load_brand_module(brand: Brand, entrypoint: str) -> ModelCode:
    """Import a module of the brand's own package.

    The package is loaded from the brand's folder under its own name. A module that was loaded from another folder or
    whose source has changed since is loaded anew, so that a long-lived process never runs stale code.

    Raises:
        EntrypointError: If the module is outside the brand, missing, raises, or lacks one of the two functions.
    """
    package = f"brand_{brand.name}"
    if entrypoint.split(".")[0] != package:
        raise EntrypointError(f"{brand.name}: {entrypoint!r} is outside {package}; a brand may use only its own code")
    _ensure_package(brand, package)
    try:
        module = importlib.import_module(entrypoint)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        unload_brand(brand.name)
        raise EntrypointError(
            f"{brand.name}: importing {entrypoint} failed: {type(error).__name__}: {str(error)[:300]}; look into {brand.source_dir}"
        ) from error
    lacking = [name for name in ("build_features", "build_estimator") if not callable(getattr(module, name, None))]
    if lacking:
        unload_brand(brand.name)
        raise EntrypointError(f"{brand.name}: {entrypoint} lacks {' and '.join(lacking)}; a model's module defines both")
    return cast(ModelCode, module)


def _ensure_package(brand: Brand, package: str) -> None:
    init = brand.source_dir / "__init__.py"
    files = read_code(brand)
    digest = files_digest(files)
    if any(path.startswith(READY_PREFIX) for path in files):
        refresh_ready()
    loaded = sys.modules.get(package)
    if loaded is not None and getattr(loaded, "__brandhouse_digest__", None) == digest:
        return
    unload_brand(brand.name)
    if not init.is_file():
        raise EntrypointError(f"{brand.name}: {init} does not exist; a brand's code lies in src/{package}")
    spec = importlib.util.spec_from_file_location(package, init, submodule_search_locations=[str(brand.source_dir)])
    if spec is None or spec.loader is None:
        raise EntrypointError(f"{brand.name}: {init} cannot be loaded as a package")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__brandhouse_digest__"] = digest
    sys.modules[package] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        unload_brand(brand.name)
        raise EntrypointError(f"{brand.name}: importing {package} failed: {type(error).__name__}: {str(error)[:300]}") from error


def unload_brand(name: str) -> None:
    """Forget all loaded modules of a brand, and what the import system remembers of its folders."""
    package = f"brand_{name}"
    if package not in sys.modules:
        return
    prefix = f"{package}."  # made once: thousands of modules are compared with it
    for key in [key for key in sys.modules if key == package or key.startswith(prefix)]:
        # Not importlib.invalidate_caches(): with a thousand brands it costs more than loading one.
        for folder in getattr(sys.modules[key], "__path__", ()):
            sys.path_importer_cache.pop(folder, None)
        del sys.modules[key]


def code_digest(brand: Brand) -> str:
    """SHA-256 over the paths and bytes of the brand's Python files, and of the ready modules that they use."""
    return files_digest(read_code(brand))


def read_code(brand: Brand) -> dict[str, bytes]:
    """The brand's Python files by their path below its package, and the ready modules they use, as `@ready/<module>.py`."""
    source = brand.source_dir
    own = {path.relative_to(source).as_posix(): path.read_bytes() for path in (source.rglob("*.py") if source.is_dir() else ())}
    return {**own, **ready_files_of(own.values())}


def files_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over paths and bytes, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(files, key=PurePosixPath):
        digest.update(f"{path}\0".encode())
        digest.update(hashlib.sha256(files[path]).digest())
    return digest.hexdigest()
