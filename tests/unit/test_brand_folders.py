"""Brands are found by their folders, validated all at once, and reach a process by name only."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from plain_brands import TOML, write_toml

from brandhouse_shared.brands import code_digest, discover_brands, find_brand, load_brand_module, read_brand
from brandhouse_shared.errors import BrandConfigError, EntrypointError, UnknownBrandError, UnknownModelError

CODE = "def build_features(rows):\n    return rows\n\n\ndef build_estimator(**params):\n    return None\n"


def make_brand(brands: Path, name: str, toml: str = TOML, code: str = CODE) -> Path:
    folder = brands / name
    package = folder / "src" / f"brand_{name}"
    package.mkdir(parents=True)
    write_toml(brands, name, toml)
    (package / "__init__.py").write_text("")
    (package / "price.py").write_text(code)
    return folder


def problems_of(tmp_path: Path, *replacements: tuple[str, str]) -> str:
    toml = TOML
    for old, new in replacements:
        assert old in toml
        toml = toml.replace(old, new)
    with pytest.raises(BrandConfigError) as caught:
        read_brand(make_brand(tmp_path, "casa", toml))
    return str(caught.value)


def test_a_brand_is_its_folder(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    brand = find_brand(tmp_path, "casa")
    assert [str(key) for key in brand.model_keys] == ["casa/price"]


def test_a_broken_brand_never_hides_the_others(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    make_brand(tmp_path, "villa", "name = ")
    brands, errors = discover_brands(tmp_path)
    assert [brand.name for brand in brands] == ["casa"]
    assert [error.brand for error in errors] == ["villa"]
    assert "brand.toml is no valid TOML" in str(errors[0])


def test_an_unknown_brand_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    with pytest.raises(UnknownBrandError, match="unknown brand 'cassa'; known brands: casa"):
        find_brand(tmp_path, "cassa")


@pytest.mark.parametrize("name", ["..", "../casa", "casa/price", "", "CASA", "cäsa"])
def test_a_name_that_is_no_identifier_is_no_brand(tmp_path: Path, name: str) -> None:
    make_brand(tmp_path, "casa")
    with pytest.raises(UnknownBrandError):
        find_brand(tmp_path, name)


def test_an_unknown_model_is_answered_with_the_brands_own(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    with pytest.raises(UnknownModelError, match="brand 'casa' has no model 'rent'; its models: price"):
        find_brand(tmp_path, "casa").model("rent")


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    said = problems_of(
        tmp_path,
        ('metric = "rmse"', 'metric = "roc_auc"\ncolour = "red"'),
        ('risk = "low"', 'risk = "huge"'),
        ('target = "price"', 'target = "area"'),
    )
    assert "models.price.colour: unknown key" in said
    assert "risk: Input should be 'low', 'medium' or 'high'" in said


def test_a_metric_that_does_not_fit_the_task_names_those_that_do(tmp_path: Path) -> None:
    said = problems_of(tmp_path, ('metric = "rmse"', 'metric = "roc_auc"'))
    assert "metric 'roc_auc' does not fit a regression task; allowed: mae, mape, r2, rmse" in said


def test_a_target_among_the_inputs_is_refused(tmp_path: Path) -> None:
    assert "the answer would be in the question" in problems_of(tmp_path, ('target = "price"', 'target = "area"'))


def test_two_brands_cannot_share_a_name(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    make_brand(tmp_path, "villa", TOML.replace('name = "{name}"', 'name = "casa"').replace("{name}", "casa"))
    brands, errors = discover_brands(tmp_path)
    assert [brand.name for brand in brands] == ["casa"]
    assert "'casa' must equal the folder's name 'villa'; two brands cannot share a name" in str(errors[0])


def test_a_folder_name_that_is_no_identifier_is_said(tmp_path: Path) -> None:
    make_brand(tmp_path, "my-brand", TOML.replace("brand_{name}", "brand_my"))
    _, errors = discover_brands(tmp_path)
    assert "'my-brand' is no identifier; allowed: 2 to 40 lower-case letters" in str(errors[0])


def test_an_entry_point_outside_the_brand_is_refused(tmp_path: Path) -> None:
    said = problems_of(tmp_path, ('entrypoint = "brand_{name}.price"', 'entrypoint = "brand_villa.price"'))
    assert "'brand_villa.price' is outside brand_casa; a brand may use only its own code" in said


def test_a_data_file_outside_data_is_refused(tmp_path: Path) -> None:
    assert "must be a file below data/" in problems_of(tmp_path, ('file = "data/homes.csv"', 'file = "data/../../secret.csv"'))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('boom')\n", "importing brand_casa.price failed: RuntimeError: boom"),
        ("import brand_palazzo.price\n", "importing brand_casa.price failed: ModuleNotFoundError: No module named 'brand_palazzo'"),
        ("def build_features(rows):\n    return rows\n", "lacks build_estimator; a model's module defines both"),
    ],
)
def test_brand_code_that_cannot_be_used_is_said(tmp_path: Path, code: str, said: str) -> None:
    make_brand(tmp_path, "casa", code=code)
    make_brand(tmp_path, "palazzo")  # a name no other test loads: a loaded package would be found in sys.modules
    brand = find_brand(tmp_path, "casa")
    with pytest.raises(EntrypointError, match=said.replace("(", r"\(")):
        load_brand_module(brand, "brand_casa.price")
    assert not [name for name in sys.modules if name.startswith("brand_casa")]


def test_an_entry_point_that_does_not_exist_is_said(tmp_path: Path) -> None:
    make_brand(tmp_path, "casa")
    with pytest.raises(EntrypointError, match=r"importing brand_casa\.rent failed"):
        load_brand_module(find_brand(tmp_path, "casa"), "brand_casa.rent")


def test_changed_code_is_loaded_anew(tmp_path: Path) -> None:
    folder = make_brand(tmp_path, "casa", code=CODE + "MARK = 1\n")
    brand = find_brand(tmp_path, "casa")
    before = code_digest(brand)
    assert load_brand_module(brand, "brand_casa.price").MARK == 1  # type: ignore[attr-defined]
    (folder / "src" / "brand_casa" / "price.py").write_text(CODE + "MARK = 22\n")
    assert load_brand_module(brand, "brand_casa.price").MARK == 22  # type: ignore[attr-defined]
    assert code_digest(brand) != before


def test_two_folders_of_one_brand_name_do_not_mix(tmp_path: Path) -> None:
    make_brand(tmp_path / "a", "casa", code=CODE + "MARK = 'a'\n")
    make_brand(tmp_path / "b", "casa", code=CODE + "MARK = 'bb'\n")
    for side, mark in (("a", "a"), ("b", "bb"), ("a", "a")):
        assert mark == load_brand_module(find_brand(tmp_path / side, "casa"), "brand_casa.price").MARK  # type: ignore[attr-defined]
