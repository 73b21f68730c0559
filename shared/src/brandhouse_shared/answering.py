"""Answer for a packaged version: load its artifact, turn checked columns into scores.

Serving, replay and packaging share this module, so that a version is measured, compared and served by the same code.
ONNX Runtime, skops and scikit-learn are imported only when a version that needs them is loaded: who merely imports this
module pays for none of them, and a process that serves compiled versions never holds scikit-learn.

Answers have one shape for all runtimes: float64, `(rows,)` for a regression, `(rows, classes)` for a classification
with the columns in the order of `Manifest.classes`.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from brandhouse_shared.artifacts import ONNX_FILE, SKOPS_FILE, Manifest, Runtime
from brandhouse_shared.brands import ModelCode, files_digest, unload_brand
from brandhouse_shared.errors import ArtifactCorruptError, EntrypointError, join_bounded
from brandhouse_shared.metrics import Task
from brandhouse_shared.ready_sources import PREFIX as READY_PREFIX
from brandhouse_shared.ready_sources import PackagedReady
from brandhouse_shared.trusted_types import refused_types

Columns = Mapping[str, Sequence[Any]]
"""Field name to canonical values, one a row, as `Contract.parse_rows` returns them."""

PAIRED_OPERATORS = frozenset(("Exp", "Gemm", "LinearClassifier", "LinearRegressor", "Log", "MatMul", "Sigmoid", "Tanh"))
"""Of ONNX: ONNX Runtime computes them for a single row, or for the last one of an odd number, in other steps than for the rest,
so that the last digits differ. A graph with one of them is always run with an even number of rows."""

EPOCH = datetime(1970, 1, 1)
DAY = timedelta(days=1)


class Predictor(Protocol):
    """A loaded version."""

    def predict(self, columns: Columns) -> "np.ndarray[Any, Any]":
        """Score rows: float64 of shape (rows,) for a regression, (rows, classes) for a classification."""


def load_predictor(folder: Path, manifest: Manifest) -> Predictor:
    """Load the version packaged in `folder`, whose bytes the store has checked against its digest.

    A python version brings the brand's code into this process, which must belong to that brand.

    Raises:
        ArtifactCorruptError: If a file is missing, unreadable, or holds types that are not trusted.
        EntrypointError: If the packaged code cannot be imported.
    """
    match manifest.runtime:
        case Runtime.COMPILED:
            return CompiledPredictor(folder / ONNX_FILE, manifest)
        case Runtime.PYTHON:
            return PythonPredictor(folder / SKOPS_FILE, manifest)
        case Runtime.CONSTANT:
            return ConstantPredictor(manifest)


class ConstantPredictor:
    """Answers the same for every row."""

    def __init__(self, manifest: Manifest) -> None:
        self._is_regression = manifest.task is Task.REGRESSION
        self._answer = np.array(manifest.constant, dtype=np.float64)

    def predict(self, columns: Columns) -> "np.ndarray[Any, Any]":
        """Repeat the answer once a row."""
        rows = len(next(iter(columns.values())))
        return np.repeat(self._answer, rows) if self._is_regression else np.tile(self._answer, (rows, 1))


# -- compiled --------------------------------------------------------------------------------------------------------


class CompiledPredictor:
    """ONNX Runtime. No pandas and no brand code on this path."""

    def __init__(self, file: Path, manifest: Manifest) -> None:
        session = _open_session(file, manifest)
        self._run = _runner(session)
        self._outputs = [output.name for output in session.get_outputs()]
        self._is_regression = manifest.task is Task.REGRESSION
        inputs = [(f"in_{index}", one.field, one.transform) for index, one in enumerate(manifest.graph_inputs)]
        self._plan = [plan for plan in (_plan(inputs, "number", np.float64), _plan(inputs, "text", object)) if plan.names]
        self._others = [(name, field, _TRANSFORMS[transform]) for name, field, transform in inputs if transform not in ("number", "text")]
        self._row_feeds: deque[_RowFeed] = deque()
        self._in_pairs = _has_paired_operators(file.read_bytes())

    def predict(self, columns: Columns) -> "np.ndarray[Any, Any]":
        """Score rows. Several threads may ask at once."""
        rows = len(next(iter(columns.values())))
        if rows == 1:
            return self._score_row(columns)
        if rows % 2 and self._in_pairs:
            columns = {field: [*values, values[-1]] for field, values in columns.items()}
        return self._scores(_arrays(self._plan, columns), columns)[:rows]

    def _score_row(self, columns: Columns) -> "np.ndarray[Any, Any]":
        try:
            feed = self._row_feeds.pop()
        except IndexError:
            feed = _RowFeed(self._plan, 2 if self._in_pairs else 1)
        try:
            doubled = {field: [*values, *values] for field, values in columns.items()} if self._in_pairs and self._others else columns
            return self._scores(feed.filled(columns), doubled)[:1]
        finally:
            self._row_feeds.append(feed)

    def _scores(self, arrays: dict[str, Any], columns: Columns) -> "np.ndarray[Any, Any]":
        for name, field, transform in self._others:
            arrays[name] = transform(columns[field])
        (scores,) = self._run(self._outputs, arrays, None)
        answers: np.ndarray[Any, Any] = scores.astype(np.float64)
        return answers[:, 0] if self._is_regression else answers


@dataclass(frozen=True, slots=True)
class _Plan:
    """The inputs of a graph that take one kind of value.

    Attributes:
        names: What the graph calls them.
        fields: Whose values they take.
        kind: Type of the array.
    """

    names: list[str]
    fields: list[str]
    kind: Any


def _plan(inputs: Sequence[tuple[str, str, str]], transform: str, kind: Any) -> _Plan:
    chosen = [(name, field) for name, field, one in inputs if one == transform]
    return _Plan([name for name, _ in chosen], [field for _, field in chosen], kind)


def _has_paired_operators(graph: bytes) -> bool:
    # An operator's type is field 4 of its node. A text that looks like one costs a second row in each run and nothing else.
    return any(b'"%c%s' % (len(name), name.encode()) in graph for name in PAIRED_OPERATORS)


def _arrays(plans: Sequence[_Plan], columns: Columns) -> dict[str, Any]:
    """The arrays of many rows by the graph's names, shape (rows, 1): views of one array a kind."""
    rows = len(next(iter(columns.values())))
    arrays: dict[str, Any] = {}
    for plan in plans:
        values = chain.from_iterable([columns[field] for field in plan.fields])
        block = np.fromiter(values, plan.kind, len(plan.fields) * rows)
        arrays.update(zip(plan.names, block.reshape(-1, rows, 1), strict=True))
    return arrays


class _RowFeed:
    """What a graph is given for one row: one array for all numbers and one for all texts, and a view of it for each input.

    Making these costs a quarter of what running a small graph for one row does; they are used again.
    """

    __slots__ = ("_blocks", "_views")

    def __init__(self, plans: Sequence[_Plan], copies: int) -> None:
        """`copies`: how many times the row is given."""
        self._blocks = [(np.empty((len(plan.names), copies), dtype=plan.kind), plan.fields) for plan in plans]
        self._views: dict[str, Any] = {}
        for plan, (block, _) in zip(plans, self._blocks, strict=True):
            self._views.update(zip(plan.names, block[:, :, None], strict=True))

    def filled(self, columns: Columns) -> dict[str, Any]:
        """Return the arrays by the graph's names, shape (copies, 1), holding these values until they are filled again."""
        for block, fields in self._blocks:
            block[:] = [columns[field] for field in fields]
        return self._views


def _runner(session: Any) -> Callable[[Sequence[str], Mapping[str, Any], None], Any]:
    """What runs the graph: names of outputs, arrays by name, and no options.

    ONNX Runtime's class checks in Python, at every call, what is so by the way arrays are made here; that takes a tenth of
    a small graph's time. What it calls then is called at once, where the installed release has it under that name.
    """
    return cast("Callable[[Sequence[str], Mapping[str, Any], None], Any]", getattr(session, "_sess", session).run)


def _open_session(file: Path, manifest: Manifest) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Many small models share one process: threads and memory arenas of their own would cost more than they give.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own that share no base
        raise ArtifactCorruptError(manifest.key, f"{file.name} cannot be loaded: {str(error)[:200]}") from error


def lower_text(text: str) -> str:
    """Lower-case as `Series.str.lower` does, which asks Arrow: 'İ' and a final 'Σ' differ from `str.lower`."""
    if text.isascii():
        return text.lower()
    import pyarrow
    import pyarrow.compute

    return cast(str, pyarrow.compute.utf8_lower(pyarrow.scalar(text)).as_py())


def strip_text(text: str) -> str:
    """Strip blanks as `Series.str.strip` does, which asks Arrow: the separators U+001C to U+001F are blanks to Python only."""
    stripped = text.strip(" \t\n\r\x0b\x0c")
    if text.isascii() and stripped == text.strip():
        return stripped
    import pyarrow
    import pyarrow.compute

    return cast(str, pyarrow.compute.utf8_trim_whitespace(pyarrow.scalar(text)).as_py())


def _as_lowered(values: Sequence[Any]) -> "np.ndarray[Any, Any]":
    return np.array([lower_text(value) for value in values], dtype=object).reshape(-1, 1)


def _as_stripped(values: Sequence[Any]) -> "np.ndarray[Any, Any]":
    return np.array([strip_text(value) for value in values], dtype=object).reshape(-1, 1)


def _as_cleaned(values: Sequence[Any]) -> "np.ndarray[Any, Any]":
    return np.array([lower_text(strip_text(value)) for value in values], dtype=object).reshape(-1, 1)


def _as_days(values: Sequence[Any]) -> "np.ndarray[Any, Any]":
    days = [np.nan if value is None else (value - EPOCH) / DAY for value in values]
    return np.array(days, dtype=np.float64).reshape(-1, 1)


_TRANSFORMS: dict[str, Callable[[Sequence[Any]], "np.ndarray[Any, Any]"]] = {
    "lower": _as_lowered,
    "strip": _as_stripped,
    "clean": _as_cleaned,
    "days": _as_days,
}


# -- python ----------------------------------------------------------------------------------------------------------


class PythonPredictor:
    """skops and the brand's own `build_features`, exactly as packaged."""

    def __init__(self, file: Path, manifest: Manifest) -> None:
        self._code = load_packaged_code(manifest)
        self._estimator = _load_skops(file, manifest)
        self._contract = manifest.contract
        self._subject = str(manifest.key)
        self._is_regression = manifest.task is Task.REGRESSION

    def predict(self, columns: Columns) -> "np.ndarray[Any, Any]":
        """Score rows."""
        from brandhouse_shared.features import build_model_input

        features = build_model_input(self._code, self._contract.frame_of(cast(Any, columns)), self._subject)
        scores = self._estimator.predict(features) if self._is_regression else self._estimator.predict_proba(features)
        return np.asarray(scores, dtype=np.float64).reshape(-1) if self._is_regression else np.asarray(scores, dtype=np.float64)


def _load_skops(file: Path, manifest: Manifest) -> Any:
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(file=file)
        refused = [*refused_types(untrusted, manifest.brand), *_borrowed(untrusted, manifest.brand)]
        if refused:
            raise ArtifactCorruptError(manifest.key, f"{file.name} holds types that are not trusted: {join_bounded(refused)}")
        return skops.io.load(file, trusted=untrusted)  # every one of them was found in our own list
    except ArtifactCorruptError:
        raise
    except Exception as error:  # a damaged archive raises anything from zipfile to json
        raise ArtifactCorruptError(manifest.key, f"{file.name} cannot be loaded: {type(error).__name__}: {str(error)[:200]}") from error


def _borrowed(names: Sequence[str], brand: str) -> list[str]:
    """Names in the brand's modules of what was defined elsewhere: `brand_x.price.system` after `from os import system`."""
    own = [name for name in names if name.startswith(f"brand_{brand}.")]
    return [name for name in own if getattr(_find(name), "__module__", None) != name.rpartition(".")[0]]


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), attribute, None)


class PackagedCode(Protocol):
    """A brand's package as texts, and which of its modules is asked for. A `Manifest` is one."""

    @property
    def key(self) -> object:
        """Model or version key, for messages."""

    @property
    def brand(self) -> str:
        """The brand whose package it is."""

    @property
    def entrypoint(self) -> str:
        """Module of the model."""

    @property
    def code_files(self) -> Mapping[str, str]:
        """Path below the package to its text."""


def load_packaged_code(manifest: PackagedCode) -> ModelCode:
    """Import the brand's package from the manifest's text, under its own name.

    skops finds classes and functions by their names, so the package takes its own; another version's code of the same
    brand is forgotten first, and keeps working for whoever holds it. The code on disk is never asked.

    Raises:
        EntrypointError: If it cannot be imported.
    """
    package = f"brand_{manifest.brand}"
    digest = files_digest({path: text.encode() for path, text in manifest.code_files.items()})
    loaded = sys.modules.get(package)
    if loaded is None or getattr(loaded, "__brandhouse_digest__", None) != digest:
        unload_brand(manifest.brand)
        _import_from_text(package, digest, manifest)
    try:
        return cast(ModelCode, importlib.import_module(manifest.entrypoint))
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise _not_importable(manifest, manifest.entrypoint, error) from error


def _import_from_text(package: str, digest: str, manifest: PackagedCode) -> None:
    finder = _TextFinder(package, manifest.code_files)
    sys.meta_path.insert(0, finder)
    try:
        module = importlib.import_module(package)
        module.__dict__["__brandhouse_digest__"] = digest
        for name in finder.names:
            importlib.import_module(name)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        unload_brand(manifest.brand)
        raise _not_importable(manifest, package, error) from error
    finally:
        sys.meta_path.remove(finder)


def _not_importable(manifest: PackagedCode, module: str, error: Exception) -> EntrypointError:
    return EntrypointError(f"{manifest.key}: packaged {module} cannot be imported: {type(error).__name__}: {str(error)[:300]}")


def _module_name(package: str, path: str) -> str:
    parts = path.removesuffix(".py").split("/")
    return ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


class _TextFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of one package in a dictionary of texts; the ready modules among them are found by these modules only."""

    def __init__(self, package: str, files: Mapping[str, str]) -> None:
        own = {path: text for path, text in files.items() if not path.startswith(READY_PREFIX)}
        self.names = [_module_name(package, path) for path in sorted(own)]
        self._sources = {_module_name(package, path): (path, text) for path, text in own.items()}
        self._ready = PackagedReady({path: text for path, text in files.items() if path not in own}) if len(own) < len(files) else None

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in self._sources:
            return None
        is_package = self._sources[fullname][0].endswith("__init__.py")
        return importlib.util.spec_from_loader(fullname, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        path, text = self._sources[module.__name__]
        if self._ready:
            module.__dict__["__builtins__"] = self._ready.builtins()
        exec(compile(text, f"<packaged {module.__name__}: {path}>", "exec"), module.__dict__)  # noqa: S102  # what importing means
