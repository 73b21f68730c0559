"""Put a fitted model into a folder that can be served: compiled if it may be, else skops, else a constant.

Writes `model.onnx` or `model.skops`, `sample.json`, `background.json` and `manifest.json`. Nothing written depends on the time or the
machine, so the folder's digest names its content.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brandhouse_flows.agreement import Agreement, compare
from brandhouse_flows.backgrounds import build_background_rows
from brandhouse_flows.compiling import NotCompilableError, compile_model
from brandhouse_flows.expressions import NotTraceableError
from brandhouse_flows.reasons import Reasons, collect_reasons
from brandhouse_flows.samples import blank_out, build_sample
from brandhouse_flows.skops_files import dump_skops
from brandhouse_flows.tracing import trace_features
from brandhouse_shared.answering import Predictor, load_predictor
from brandhouse_shared.artifacts import BACKGROUND_FILE, MANIFEST_FILE, ONNX_FILE, SAMPLE_FILE, SKOPS_FILE, Manifest, Runtime
from brandhouse_shared.brands import Brand, ModelCode, code_digest, read_code
from brandhouse_shared.config import Scalar
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.features import build_model_input
from brandhouse_shared.metrics import Task

TIMED_SECONDS = 0.2
TIMED_ROWS = 100


class PackagingError(BrandhouseError):
    """A model can be served by no runtime."""


@dataclass(frozen=True, slots=True)
class Package:
    """A finished folder.

    Attributes:
        manifest: What was written to `manifest.json`.
        median_row_ms: Median milliseconds of scoring one row in the packaged runtime.
        agreement: Compiled and refused-for-difference only: how far ONNX Runtime and scikit-learn differ.
        reasons: Explained hold-out rows; None if none were asked for, or could be.
    """

    manifest: Manifest
    median_row_ms: float
    agreement: Agreement | None = None
    reasons: Reasons | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is packaged.

    Attributes:
        brand: Whose it is.
        model_name: Which model.
        rows_holdout: Canonical held-out rows, one column an input field.
        truth: Targets of those rows, for the sample.
        classes: Labels in the order of the probabilities; empty for regression.
        constant: The fallback answer.
        code: The model's module.
    """

    brand: Brand
    model_name: str
    rows_holdout: pd.DataFrame
    classes: tuple[Scalar, ...]
    constant: tuple[float, ...]
    code: ModelCode
    truth: Sequence[Any] | None = None

    @property
    def key(self) -> str:
        """Brand and model, for messages."""
        return f"{self.brand.name}/{self.model_name}"

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.brand.model(self.model_name).task

    @property
    def contract(self) -> Contract:
        """The input schema."""
        return Contract(self.brand.model(self.model_name).inputs)

    @property
    def code_digest(self) -> str:
        """Digest of the code that was loaded, which is the one that made the features."""
        package = sys.modules.get(f"brand_{self.brand.name}")
        return str(getattr(package, "__brandhouse_digest__", code_digest(self.brand)))

    def manifest(self, runtime: Runtime, reason: str, **more: Any) -> Manifest:
        """The manifest of this subject in one runtime."""
        model = self.brand.model(self.model_name)
        return Manifest(
            brand=self.brand.name,
            model=self.model_name,
            task=model.task,
            target=model.target,
            runtime=runtime,
            reason=reason,
            inputs=model.inputs,
            classes=self.classes,
            positive=model.positive,
            constant=self.constant,
            entrypoint=model.entrypoint,
            code_digest=self.code_digest,
            **more,
        )


def package(
    folder: Path,
    *,
    brand: Brand,
    model_name: str,
    estimator: Any,
    rows_holdout: pd.DataFrame,
    classes: Sequence[Scalar],
    constant: Sequence[float],
    code: ModelCode,
    features_holdout: pd.DataFrame | None = None,
    truth: Sequence[Any] | None = None,
    reason_seconds: float = 0.0,
) -> Package:
    """Package a fitted estimator.

    Args:
        folder: An empty or missing folder; written to.
        brand: Whose model it is.
        model_name: Which of its models.
        estimator: Fitted on frames as `build_model_input` makes them.
        rows_holdout: Canonical held-out rows.
        classes: Labels as in the data, in the order of `estimator.classes_`; empty for regression.
        constant: The fallback answer: one number, or one probability a class.
        code: The model's module, whose `build_features` made the features.
        features_holdout: Model input of `rows_holdout`, if already built.
        truth: Targets of `rows_holdout`, shown beside sample answers.
        reason_seconds: For so long hold-out rows are explained, for the card.

    Raises:
        PackagingError: If neither ONNX nor skops can carry the estimator.
    """
    subject = Subject(brand, model_name, rows_holdout, tuple(classes), tuple(constant), code, truth)
    _check_estimator(subject, estimator)
    folder.mkdir(parents=True, exist_ok=True)
    features = build_model_input(code, rows_holdout, subject.key) if features_holdout is None else features_holdout
    agreement: Agreement | None = None
    try:
        manifest, agreement = _compile(folder, subject, estimator, features)
    except (NotTraceableError, NotCompilableError) as refusal:
        (folder / ONNX_FILE).unlink(missing_ok=True)
        manifest = _keep_python(folder, subject, estimator, str(refusal))
    else:
        if not agreement.agrees:
            (folder / ONNX_FILE).unlink()
            manifest = _keep_python(folder, subject, estimator, f"the compiled model disagrees: {agreement}")
    return _finish(folder, subject, manifest, agreement, reason_seconds)


def package_constant(
    folder: Path,
    *,
    brand: Brand,
    model_name: str,
    rows_holdout: pd.DataFrame,
    classes: Sequence[Scalar],
    constant: Sequence[float],
    code: ModelCode,
    truth: Sequence[Any] | None = None,
    reason: str = "the baseline: the training data's median, or the shares of its classes",
) -> Package:
    """Package the answer that is the same for every row: a brand's model zero. Arguments as for `package`."""
    subject = Subject(brand, model_name, rows_holdout, tuple(classes), tuple(constant), code, truth)
    folder.mkdir(parents=True, exist_ok=True)
    return _finish(folder, subject, subject.manifest(Runtime.CONSTANT, reason), None)


def _check_estimator(subject: Subject, estimator: Any) -> None:
    if subject.task is Task.REGRESSION:
        return
    if not hasattr(estimator, "predict_proba"):
        raise PackagingError(
            f"{subject.key}: {type(estimator).__name__} gives no probabilities (predict_proba); wrap it in CalibratedClassifierCV"
        )
    found = len(getattr(estimator, "classes_", subject.classes))
    if found != len(subject.classes):
        raise PackagingError(
            f"{subject.key}: the estimator knows {found} classes, {len(subject.classes)} were given; give them in its order"
        )


# -- runtimes --------------------------------------------------------------------------------------------------------


def _compile(folder: Path, subject: Subject, estimator: Any, features: pd.DataFrame) -> tuple[Manifest, Agreement]:
    """Write `model.onnx` and compare it with scikit-learn, on the hold-out and on rows with missing values."""
    contract = subject.contract
    try:
        traced = trace_features(subject.code, contract)
        compiled = compile_model(traced, estimator, subject.task)
    except RecursionError as error:
        raise NotTraceableError("build_features nests too deeply") from error
    names = [feature.name for feature in traced]
    if names != list(features.columns):
        raise NotTraceableError("build_features names other columns when traced")
    (folder / ONNX_FILE).write_bytes(compiled.content)
    manifest = subject.manifest(Runtime.COMPILED, "", graph_inputs=compiled.inputs)
    expected = score(estimator, features, subject.task)
    try:
        predictor = load_predictor(folder, manifest)
        actual = predictor.predict(contract.columns_of(subject.rows_holdout))
    except Exception as error:  # ONNX Runtime raises classes of its own that share no base
        raise NotCompilableError(f"ONNX Runtime refuses the graph: {str(error)[:200]}") from error
    agreement = compare(expected, actual, subject.task)
    blanked = blank_out(subject.rows_holdout, contract)
    if agreement.agrees and len(blanked):
        agreement = _compare_blanked(subject, estimator, predictor, blanked, agreement)
    return manifest.model_copy(update={"reason": f"compiled: {agreement}"}), agreement


def _compare_blanked(subject: Subject, estimator: Any, predictor: Predictor, blanked: pd.DataFrame, agreement: Agreement) -> Agreement:
    """Judge rows whose nullable fields were emptied too: the hold-out may hold none, requests may."""
    try:
        features = build_model_input(subject.code, blanked, subject.key)
        expected = score(estimator, features, subject.task)
    except Exception:  # brand code or scikit-learn may not take missing values: then there is no answer to compare with
        return agreement
    actual = predictor.predict(subject.contract.columns_of(blanked))
    return agreement.merge(compare(expected, actual, subject.task))


def _keep_python(folder: Path, subject: Subject, estimator: Any, reason: str) -> Manifest:
    """Write `model.skops` and take the brand's code along."""
    content, refused = dump_skops(estimator, subject.brand.name)
    if refused:
        raise PackagingError(
            f"{subject.key}: not packaged. It does not compile ({reason}), and skops would have to trust {', '.join(refused[:12])}; "
            "use another estimator, or define the function in the brand's own module"
        )
    if subject.code_digest != code_digest(subject.brand):
        raise PackagingError(f"{subject.key}: the brand's code was changed while the model was trained; train again")
    (folder / SKOPS_FILE).write_bytes(content)
    files = {path: content.decode() for path, content in sorted(read_code(subject.brand).items())}
    return subject.manifest(Runtime.PYTHON, reason, code_files=files)


def score(estimator: Any, features: pd.DataFrame, task: Task) -> "np.ndarray[Any, Any]":
    """scikit-learn's answers in the shape of all runtimes."""
    if task is Task.REGRESSION:
        return np.asarray(estimator.predict(features), dtype=np.float64).reshape(-1)
    return np.asarray(estimator.predict_proba(features), dtype=np.float64)


# -- folder ----------------------------------------------------------------------------------------------------------


def _finish(folder: Path, subject: Subject, manifest: Manifest, agreement: Agreement | None, reason_seconds: float = 0.0) -> Package:
    predictor = load_predictor(folder, manifest)
    sample = build_sample(subject.brand, manifest, predictor, subject.rows_holdout, subject.truth)
    _write_json(folder / SAMPLE_FILE, sample)
    background = build_background_rows(subject.brand, manifest, predictor, subject.rows_holdout)
    _write_json(folder / BACKGROUND_FILE, background)
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    reasons = None
    if reason_seconds:
        may_show = subject.brand.config.capabilities.may_store_predictions
        reasons = collect_reasons(predictor, manifest, background, subject.rows_holdout, reason_seconds, may_show=may_show)
    return Package(manifest, _median_row_ms(predictor, manifest, subject.rows_holdout), agreement, reasons)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _median_row_ms(predictor: Predictor, manifest: Manifest, rows: pd.DataFrame) -> float:
    """Score single rows for at most a fifth of a second, the first one not counted."""
    singles = [manifest.contract.columns_of(rows.iloc[[index]]) for index in range(min(len(rows), 20))]
    predictor.predict(singles[0])
    taken: list[float] = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(taken) < TIMED_ROWS and (not taken or time.perf_counter() < end):
        start = time.perf_counter()
        predictor.predict(singles[len(taken) % len(singles)])
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1_000
