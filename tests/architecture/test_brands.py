"""Rules over every folder in `brands/`, found by discovery: no brand is named here."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from brandhouse_flows.content import hash_file
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.datasets import read_table
from brandhouse_flows.sources import find_source
from brandhouse_flows.splits import encode_target
from brandhouse_shared.brands import Brand, discover_brands, load_brand_module
from brandhouse_shared.config import FieldType, PackageSource, Privacy
from brandhouse_shared.contracts import Contract
from brandhouse_shared.features import build_model_input
from brandhouse_shared.settings import Settings

ROOT = Path(__file__).parents[2]
MAX_CODE_LINES = 60
TRACKED = {".py", ".toml", ".md", ".dvc", ".ipynb", ".gitignore"}
BRANDS, BROKEN = discover_brands(ROOT / "brands")

each_brand = pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: brand.name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=ROOT, home=tmp_path, ledger_url=SecretStr("sqlite://"))


def git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_twelve_brands_ship_and_every_folder_is_valid() -> None:
    assert not BROKEN, "\n".join(str(error) for error in BROKEN)
    assert len(BRANDS) >= 12, f"{len(BRANDS)} brands ship"


def test_brands_are_a_dozen_different_shapes_of_work() -> None:
    models = [model for brand in BRANDS for model in brand.config.models.values()]

    assert {model.task.value for model in models} == {"regression", "binary", "multiclass"}, "every task is shown"
    assert {model.split.kind for model in models} == {"random", "grouped", "time"}, "and every kind of split"
    assert {dataset.format for brand in BRANDS for dataset in brand.config.datasets.values()} >= {"csv", "zip-text"}, "tables and texts"
    assert any(len(brand.config.models) > 1 for brand in BRANDS), "one brand has several models"
    assert any(not brand.config.capabilities.gets_labels for brand in BRANDS), "one brand gets no labels"


def test_at_most_two_models_do_without_the_baseline_gate() -> None:
    without = [f"{brand.name}/{name}" for brand in BRANDS for name, model in brand.config.models.items() if not model.gates.beat_baseline]

    assert len(without) <= 2, f"{without} need not beat a baseline: an exception with a reason, not a habit"


def test_sensitive_fields_come_with_high_risk_or_are_rare() -> None:
    for brand in BRANDS:
        fields = [field for model in brand.config.models.values() for field in model.inputs.values()]
        sensitive = sum(field.privacy is Privacy.SENSITIVE for field in fields)
        if sensitive > len(fields) / 2:
            assert brand.config.risk == "high" and not brand.config.capabilities.may_store_predictions, (
                f"{brand.name}: mostly sensitive fields; its predictions may not be kept"
            )


@each_brand
def test_a_brand_is_whole(brand: Brand) -> None:
    expected = ["README.md", "pyproject.toml", f"src/brand_{brand.name}/__init__.py", ".dvc/config", ".dvc/.gitignore", "data/.gitignore"]
    expected += [f"tests/test_{name}.py" for name in brand.config.models]
    expected += [f"{dataset.file}.dvc" for dataset in brand.config.datasets.values()]
    missing = [name for name in expected if not (brand.folder / name).is_file()]

    assert not missing, f"{brand.name} lacks {', '.join(missing)}"
    project = tomllib.loads((brand.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"brand-{brand.name}", "the distribution is named after the brand"
    readme = (brand.folder / "README.md").read_text()
    assert all(str(key) in readme for key in brand.model_keys), "the README names every model"


@each_brand
def test_a_brands_code_is_short(brand: Brand) -> None:
    lines = sum(len(path.read_text().splitlines()) for path in brand.source_dir.rglob("*.py"))

    assert lines <= MAX_CODE_LINES, f"{brand.name} has {lines} lines; what it needs more of belongs to the platform"


@each_brand
def test_the_package_carries_the_bytes_that_the_pointer_names(brand: Brand, settings: Settings) -> None:
    project = DataProject(brand, settings)

    for name in brand.config.datasets:
        source = find_source(brand, name)
        pointer = project.pointer(name)
        found = (hash_file(source), source.stat().st_size)
        assert (pointer.hash_md5, pointer.size_bytes) == found, f"{brand.name}/{name}: other bytes than the pointer names"


@each_brand
def test_the_package_of_the_data_is_pinned(brand: Brand) -> None:
    dependencies = tomllib.loads((brand.folder / "pyproject.toml").read_text())["project"]["dependencies"]

    for dataset in brand.config.datasets.values():
        if isinstance(dataset.source, PackageSource):
            pins = [line for line in dependencies if line.startswith(f"{dataset.source.package}==")]
            assert pins, f"{brand.name}: {dataset.source.package} must be exact, or another machine rebuilds other bytes"


@each_brand
def test_the_data_fit_the_schema_and_the_code(brand: Brand) -> None:
    for name, model in brand.config.models.items():
        subject = f"{brand.name}/{name}"
        table = read_table(brand.config.datasets[model.dataset], find_source(brand, model.dataset))
        kept = table[encode_target(table[model.target], model, subject).keep]
        rows = Contract(model.inputs).parse_table(kept, subject)
        features = build_model_input(load_brand_module(brand, model.entrypoint), rows, subject)

        assert len(features) == len(kept), f"{subject}: one feature row a row"
        unseen = {
            field: sorted({str(value) for value in declared.values} - set(kept[field].dropna()))
            for field, declared in model.inputs.items()
            if declared.type is FieldType.CATEGORY and declared.values is not None
        }
        never = {field: values for field, values in unseen.items() if len(values) > 1}
        assert not never, f"{subject}: values are allowed that the data never hold: {never}"
        absent = [column for column in model.slices if column not in table.columns]
        assert not absent, f"{subject}: slices that are no column: {absent}"


@each_brand
def test_what_is_committed_names_no_machine(brand: Brand) -> None:
    config = (brand.folder / ".dvc" / "config").read_text()

    assert all(not line or line.startswith("#") for line in config.splitlines()), "cache, remote and credentials differ by machine"


def test_no_table_is_tracked() -> None:
    tracked = [Path(path) for path in git("ls-files", "--", "brands")]
    strange = [
        path for path in tracked if path.suffix not in TRACKED and path.name != ".gitignore" and path.parts[2:] != (".dvc", "config")
    ]

    assert not strange, f"only code, declarations, texts and pointers belong into Git: {strange[:5]}"


@each_brand
def test_git_ignores_the_brands_tables(brand: Brand) -> None:
    files = [str(brand.folder / dataset.file) for dataset in brand.config.datasets.values()]

    assert git("check-ignore", *files) == files, f"{brand.name}: a table could be committed by accident"
