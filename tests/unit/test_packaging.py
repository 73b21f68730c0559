"""A fitted model becomes a folder that answers alone, says why it is served as it is, and shows no row it must not."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import CLASSIFIERS, CODE, Case, columns, make_case, only_numbers
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from brandhouse_flows.packaging import PackagingError, package, package_constant
from brandhouse_flows.samples import invent_value
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import MANIFEST_FILE, ONNX_FILE, SAMPLE_FILE, SKOPS_FILE, Manifest, Runtime, folder_digest, read_manifest
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.config import InputField
from brandhouse_shared.contracts import Contract

OPAQUE = CODE.replace('features["story"] = rows["story"].str.lower()', 'features["length"] = rows["story"].str.len()')
SCALE = "\n\ndef shrink(values):\n    return values / 1000\n"


@pytest.fixture(autouse=True)
def _forget_brands() -> Iterator[None]:
    yield
    for name in ("molen", "dijk"):
        unload_brand(name)


def linear(**options: Any) -> Any:
    return make_pipeline(columns(**options), LogisticRegression(max_iter=500))


def sample_of(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / SAMPLE_FILE).read_text(encoding="utf-8"))
    return content


def test_a_compiled_folder_answers_alone_and_as_scikit_learn_does(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    estimator = linear()
    packaged = case.package(tmp_path / "artifact", estimator)
    unload_brand("molen")
    manifest = read_manifest(tmp_path / "artifact")
    assert manifest == packaged.manifest
    assert manifest.runtime is Runtime.COMPILED
    assert "largest difference" in manifest.reason
    assert manifest.code_files == {}, "a compiled version carries no code"
    answers = load_predictor(tmp_path / "artifact", manifest).predict(manifest.contract.columns_of(case.rows))
    assert np.abs(answers - estimator.predict_proba(case.features)).max() < 1e-5
    assert "brand_molen" not in sys.modules, "answering needed no brand code"
    assert packaged.median_row_ms < 5


def test_what_cannot_be_traced_is_served_by_python_with_its_own_code(tmp_path: Path) -> None:
    case = make_case(tmp_path, code=OPAQUE)
    estimator = linear()
    packaged = case.package(tmp_path / "artifact", estimator)
    manifest = packaged.manifest
    assert manifest.runtime is Runtime.PYTHON
    assert manifest.reason == "Series.str.len"
    assert set(manifest.code_files) == {"__init__.py", "price.py"}
    assert not (tmp_path / "artifact" / ONNX_FILE).exists()
    (case.brand.source_dir / "price.py").write_text("raise RuntimeError('changed since')")
    unload_brand("molen")
    answers = load_predictor(tmp_path / "artifact", manifest).predict(manifest.contract.columns_of(case.rows))
    assert np.array_equal(answers, estimator.predict_proba(case.features))


def test_every_request_of_the_sample_gets_its_expected_answer(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.package(tmp_path / "artifact", linear())
    manifest = read_manifest(tmp_path / "artifact")
    predictor = load_predictor(tmp_path / "artifact", manifest)
    sample = sample_of(tmp_path / "artifact")
    assert len(sample) == 20
    answers = predictor.predict(manifest.contract.parse_rows([entry["instance"] for entry in sample]))
    for entry, answer in zip(sample, answers, strict=True):
        assert entry["expected"]["probabilities"] == pytest.approx(answer.tolist(), abs=1e-7)
        assert entry["expected"]["label"] in ("no", "yes")
        assert entry["truth"] in ("no", "yes")


@pytest.mark.parametrize("options", [{"may_store": False}, {"privacy": "personal"}, {"privacy": "sensitive"}])
def test_a_brand_that_must_not_show_rows_gets_an_invented_one(options: dict[str, Any], tmp_path: Path) -> None:
    case = make_case(tmp_path, **options)
    case.package(tmp_path / "artifact", linear())
    (entry,) = sample_of(tmp_path / "artifact")
    assert entry["invented"] is True
    assert entry["instance"]["story"] == "a"
    assert "truth" not in entry


def test_invented_values_are_what_the_schema_allows() -> None:
    fields = {
        "low": InputField(type="number", min=2.5),
        "below": InputField(type="integer", max=-3),
        "between": InputField(type="integer", min=1.5, max=4),
        "flag": InputField(type="boolean"),
        "kind": InputField(type="category", values=[3, 4]),
        "free": InputField(type="category"),
        "text": InputField(type="text"),
        "day": InputField(type="date", format="%d/%m/%Y"),
    }
    instance = {name: invent_value(field) for name, field in fields.items()}
    assert Contract(fields).parse_rows([instance])["between"] == [2.0]


def test_an_estimator_that_skops_would_have_to_trust_is_named_and_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, code=OPAQUE)
    estimator = make_pipeline(only_numbers(FunctionTransformer(textwrap.dedent)), LogisticRegression())
    estimator.steps[0][1].transformers[0][1].steps[-1][1].func = None
    fitted = estimator.fit(case.features[:300], case.truth[:300])
    fitted.steps[0][1].transformers_[0][1].steps[-1][1].func = textwrap.dedent
    with pytest.raises(PackagingError, match=r"molen/price: not packaged.*textwrap\.dedent"):
        package(
            tmp_path / "artifact",
            brand=case.brand,
            model_name="price",
            estimator=fitted,
            rows_holdout=case.rows[300:],
            features_holdout=case.features[300:],
            classes=["no", "yes"],
            constant=[0.5, 0.5],
            code=case.code,
        )
    assert not (tmp_path / "artifact" / SKOPS_FILE).exists()


def test_a_function_of_the_brands_own_module_is_trusted(tmp_path: Path) -> None:
    case = make_case(tmp_path, code=OPAQUE + SCALE)
    shrink = sys.modules["brand_molen.price"].shrink  # type: ignore[attr-defined]
    packaged = case.package(tmp_path / "artifact", make_pipeline(only_numbers(FunctionTransformer(shrink)), LogisticRegression()))
    assert packaged.manifest.runtime is Runtime.PYTHON
    unload_brand("molen")
    assert load_predictor(tmp_path / "artifact", packaged.manifest).predict(packaged.manifest.contract.columns_of(case.rows)).shape == (
        450,
        2,
    )


def test_a_classifier_without_probabilities_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    with pytest.raises(PackagingError, match="molen/price: Pipeline gives no probabilities"):
        case.package(tmp_path / "artifact", make_pipeline(columns(), RidgeClassifier()))


def test_code_that_changed_during_training_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, code=OPAQUE)
    source = case.brand.source_dir / "price.py"
    source.write_text(source.read_text(encoding="utf-8") + "\nX = 1\n", encoding="utf-8")
    with pytest.raises(PackagingError, match="changed while the model was trained"):
        case.package(tmp_path / "artifact", linear())


def test_a_constant_is_packaged_for_both_tasks(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    common: dict[str, Any] = {"model_name": "price", "rows_holdout": case.rows[300:], "code": case.code}
    packaged = package_constant(tmp_path / "a", brand=case.brand, classes=["no", "yes"], constant=[0.6, 0.4], **common)
    assert packaged.manifest.runtime is Runtime.CONSTANT
    assert sample_of(tmp_path / "a")[0]["expected"] == {"label": "no", "probabilities": [0.6, 0.4]}
    numbers = make_case(tmp_path / "other", name="dijk", task="regression")
    common |= {"rows_holdout": numbers.rows[300:], "code": numbers.code}
    package_constant(tmp_path / "b", brand=numbers.brand, classes=[], constant=[1234.5], **common)
    assert sample_of(tmp_path / "b")[0]["expected"] == 1234.5


@pytest.mark.parametrize("name", ["LogisticRegression + TF-IDF", "TF-IDF with the default pattern"])
def test_packaging_twice_gives_one_digest(name: str, tmp_path: Path) -> None:
    case = make_case(tmp_path)
    for folder in ("one", "two"):
        case.package(tmp_path / folder, CLASSIFIERS[name][0]())
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "two")


@pytest.mark.parametrize("file", [ONNX_FILE, SAMPLE_FILE, MANIFEST_FILE])
def test_an_altered_file_alters_the_digest(file: str, tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.package(tmp_path / "artifact", linear())
    before = folder_digest(tmp_path / "artifact")
    content = bytearray((tmp_path / "artifact" / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "artifact" / file).write_bytes(bytes(content))
    assert folder_digest(tmp_path / "artifact") != before


def test_two_brands_at_once_keep_to_themselves(tmp_path: Path) -> None:
    cases: list[Case] = [make_case(tmp_path / name, name=name, task="regression") for name in ("molen", "dijk")]
    manifests: list[Manifest] = [
        case.package(tmp_path / f"{case.brand.name}-artifact", make_pipeline(columns(), Ridge())).manifest for case in cases
    ]
    assert [manifest.brand for manifest in manifests] == ["molen", "dijk"]
    assert "molen" not in (tmp_path / "dijk-artifact" / MANIFEST_FILE).read_text(encoding="utf-8")


def test_rows_with_missing_values_are_compared_even_if_the_hold_out_has_none(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    complete = case.rows["km to sea "].notna() & (case.rows["town"] != "")
    whole = Case(case.brand, case.code, case.rows[complete], case.features[complete], case.truth[complete.to_numpy()])
    packaged = whole.package(tmp_path / "artifact", linear())
    assert packaged.agreement is not None
    assert packaged.agreement.rows > len(whole.rows[300:]), "rows with missing values were added"


def test_a_process_that_serves_compiled_versions_never_holds_scikit_learn(tmp_path: Path) -> None:
    make_case(tmp_path).package(tmp_path / "artifact", linear())
    script = textwrap.dedent(
        """
        import json, sys
        from pathlib import Path
        from brandhouse_shared.answering import load_predictor
        from brandhouse_shared.artifacts import read_manifest
        folder = Path(sys.argv[1])
        manifest = read_manifest(folder)
        rows = [entry["instance"] for entry in json.loads((folder / "sample.json").read_text())]
        assert load_predictor(folder, manifest).predict(manifest.contract.parse_rows(rows)).shape == (20, 2)
        print(sorted({"sklearn", "pandas", "skops", "scipy", "brand_molen"} & set(sys.modules)))
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "artifact")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"
