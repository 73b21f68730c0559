"""A packaged version answers the same way whatever its runtime, and loads nothing it was not given."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from brandhouse_shared.answering import ConstantPredictor, PythonPredictor, load_packaged_code, load_predictor
from brandhouse_shared.artifacts import ONNX_FILE, SKOPS_FILE, Manifest, Runtime
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import ArtifactCorruptError, EntrypointError
from brandhouse_shared.metrics import Task
from brandhouse_shared.trusted_types import TRUSTED_TYPES, refused_types

CODE = "def build_features(rows):\n    return rows[['area']] * {factor}\n\n\ndef build_estimator(**params):\n    return None\n"


@pytest.fixture(autouse=True)
def _forget_brands() -> Iterator[None]:
    yield
    for name in ("molen", "dijk"):
        unload_brand(name)


def manifest_of(runtime: Runtime, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "brand": "molen",
        "model": "price",
        "task": Task.REGRESSION,
        "target": "price",
        "runtime": runtime,
        "reason": "test",
        "inputs": {"area": InputField(type=FieldType.NUMBER)},
        "constant": (5.0,),
        "entrypoint": "brand_molen.price",
        "code_digest": "0" * 64,
        "code_files": {"__init__.py": "", "price.py": CODE.format(factor=1)},
    }
    return Manifest(**{**values, **changes})


def save_linear(folder: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(np.array([[0.0], [1.0]]), [10.0, 12.0])
    skops.io.dump(model, folder / SKOPS_FILE)


def test_a_constant_regression_answers_one_number_a_row(tmp_path: Path) -> None:
    predictor = load_predictor(tmp_path, manifest_of(Runtime.CONSTANT))
    assert isinstance(predictor, ConstantPredictor)
    assert predictor.predict({"area": [1.0, 2.0, 3.0]}).tolist() == [5.0, 5.0, 5.0]


def test_a_constant_classifier_answers_the_shares_of_its_classes(tmp_path: Path) -> None:
    manifest = manifest_of(Runtime.CONSTANT, task=Task.BINARY, classes=("no", "yes"), constant=(0.7, 0.3))
    assert load_predictor(tmp_path, manifest).predict({"area": [1.0, 2.0]}).tolist() == [[0.7, 0.3], [0.7, 0.3]]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_a_python_version_runs_the_code_it_was_packaged_with(tmp_path: Path) -> None:
    save_linear(tmp_path)
    first = load_predictor(tmp_path, manifest_of(Runtime.PYTHON))
    second = load_predictor(tmp_path, manifest_of(Runtime.PYTHON, code_files={"__init__.py": "", "price.py": CODE.format(factor=3)}))
    assert isinstance(first, PythonPredictor)
    assert first.predict({"area": [1.0, 2.0]}) == pytest.approx([12.0, 14.0])
    assert second.predict({"area": [1.0, 2.0]}) == pytest.approx([16.0, 22.0])
    assert first.predict({"area": [1.0]}) == pytest.approx([12.0]), "the older version keeps its code"


def test_packaged_code_may_be_several_modules_and_packages(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "price.py": "from brand_molen.parts.areas import scale\n\n\ndef build_features(rows):\n    return scale(rows)\n",
        "parts/__init__.py": "",
        "parts/areas.py": "def scale(rows):\n    return rows * 7\n",
    }
    code = load_packaged_code(manifest_of(Runtime.PYTHON, code_files=files))
    assert code.build_features(2) == 14


def test_packaged_code_never_comes_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brand_molen").mkdir()
    (tmp_path / "brand_molen" / "__init__.py").write_text("")
    (tmp_path / "brand_molen" / "price.py").write_text("def build_features(rows):\n    return 'from disk'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {"__init__.py": "", "price.py": "def build_features(rows):\n    return 'packaged'\n"}
    assert load_packaged_code(manifest_of(Runtime.PYTHON, code_files=files)).build_features(None) == "packaged"


def test_two_brands_keep_their_own_code(tmp_path: Path) -> None:
    one = load_packaged_code(
        manifest_of(Runtime.PYTHON, code_files={"__init__.py": "", "price.py": "def build_features(rows):\n    return 1\n"})
    )
    other = load_packaged_code(
        manifest_of(
            Runtime.PYTHON,
            brand="dijk",
            entrypoint="brand_dijk.price",
            code_files={"__init__.py": "", "price.py": "def build_features(rows):\n    return 2\n"},
        )
    )
    assert (one.build_features(None), other.build_features(None)) == (1, 2)


def test_packaged_code_that_raises_is_an_entrypoint_error() -> None:
    files = {"__init__.py": "", "price.py": "raise ValueError('broken mill')"}
    with pytest.raises(EntrypointError, match=r"molen/price: packaged brand_molen.* cannot be imported: ValueError: broken mill"):
        load_packaged_code(manifest_of(Runtime.PYTHON, code_files=files))
    assert "brand_molen" not in sys.modules, "half a package is not left behind"


def test_a_skops_file_that_runs_a_command_is_refused(tmp_path: Path) -> None:
    import os

    skops.io.dump(FunctionTransformer(os.system), tmp_path / SKOPS_FILE)
    with pytest.raises(ArtifactCorruptError, match=r"types that are not trusted: posix\.system"):
        load_predictor(tmp_path, manifest_of(Runtime.PYTHON))


def test_a_skops_file_with_an_object_that_reduces_to_a_command_is_refused(tmp_path: Path) -> None:
    import subprocess as harmful

    skops.io.dump(FunctionTransformer(harmful.check_output, kw_args={"args": ["touch", str(tmp_path / "owned")]}), tmp_path / SKOPS_FILE)
    with pytest.raises(ArtifactCorruptError, match=r"subprocess\.check_output"):
        load_predictor(tmp_path, manifest_of(Runtime.PYTHON))
    assert not (tmp_path / "owned").exists()


def test_a_function_borrowed_through_the_brand_is_refused(tmp_path: Path) -> None:
    import zipfile

    skops.io.dump(FunctionTransformer(np.log1p), tmp_path / "harmless.skops")
    with zipfile.ZipFile(tmp_path / "harmless.skops") as source, zipfile.ZipFile(tmp_path / SKOPS_FILE, "w") as target:
        schema = source.read("schema.json").decode().replace('"log1p"', '"system"').replace('"numpy"', '"brand_molen.price"')
        target.writestr("schema.json", schema)
    files = {"__init__.py": "", "price.py": "from os import system\n" + CODE.format(factor=1)}
    with pytest.raises(ArtifactCorruptError, match=r"brand_molen\.price\.system"):
        load_predictor(tmp_path, manifest_of(Runtime.PYTHON, code_files=files))


def test_another_brands_types_are_not_trusted() -> None:
    assert refused_types(["brand_molen.price.Scaler", "brand_dijk.price.Scaler"], "molen") == ["brand_dijk.price.Scaler"]


def test_the_list_of_trusted_types_holds_nothing_that_runs_code() -> None:
    dangerous = ("os.", "posix.", "subprocess.", "builtins.", "importlib.", "sys.", "pickle.", "joblib.", "operator.")
    assert not [name for name in TRUSTED_TYPES if name.startswith(dangerous)]


@pytest.mark.parametrize(("runtime", "file"), [(Runtime.COMPILED, ONNX_FILE), (Runtime.PYTHON, SKOPS_FILE)])
@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_missing_or_broken_file_is_a_corrupt_artifact(runtime: Runtime, file: str, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ArtifactCorruptError, match=f"molen/price: {file} cannot be loaded"):
        load_predictor(tmp_path, manifest_of(runtime))


def test_importing_this_module_brings_no_engine() -> None:
    engines = "{'sklearn', 'pandas', 'skops', 'onnxruntime', 'scipy'}"
    script = f"import sys, brandhouse_shared.answering; print(sorted({engines} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
