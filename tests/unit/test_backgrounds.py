"""Background rows are real where they may be, and tell of nobody where they may not; the card's reasons follow the same rule."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from model_house import Case, columns, make_case
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from brandhouse_flows.backgrounds import BACKGROUND_ROWS, build_background_rows
from brandhouse_flows.packaging import package_constant
from brandhouse_flows.reasons import collect_reasons
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import BACKGROUND_FILE, Manifest, read_manifest
from brandhouse_shared.brands import unload_brand
from brandhouse_shared.explaining import Question, read_background

PERSONAL_AGE = (
    '"age/years" = { type = "integer", min = 0, max = 500 }',
    '"age/years" = { type = "integer", privacy = "personal", max = 39 }',
)
SENSITIVE_TOWN = ("town = { type", 'town = { privacy = "sensitive", type')
SENSITIVE_WOOD = ('"kind"\' = { type', '"kind"\' = { privacy = "sensitive", type')
PERSONAL_DATE = ("built = { type", 'built = { privacy = "personal", type')


@pytest.fixture(autouse=True)
def _forget_brands() -> Iterator[None]:
    yield
    unload_brand("molen")


def packaged(tmp_path: Path, **options: Any) -> tuple[Case, Path, Manifest]:
    case = make_case(tmp_path, **options)
    model = make_pipeline(columns(scale=False, dense=True), HistGradientBoostingClassifier(max_iter=15))
    case.package(tmp_path / "artifact", model)
    return case, tmp_path / "artifact", read_manifest(tmp_path / "artifact")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / BACKGROUND_FILE).read_text(encoding="utf-8"))
    return found


def test_a_brand_without_secrets_has_real_rows_spread_over_its_answers(tmp_path: Path) -> None:
    case, folder, manifest = packaged(tmp_path)
    found, held_out = rows_of(folder), manifest.contract.instances_of(case.rows[300:])
    assert len(found) == BACKGROUND_ROWS
    assert all(row in held_out for row in found)
    predictor = load_predictor(folder, manifest)
    few, all_rows = (predictor.predict(manifest.contract.parse_rows(rows))[:, 1] for rows in (found, held_out))
    assert few.mean() == pytest.approx(all_rows.mean(), abs=0.02), "the base is far from the mean answer"
    assert rows_of(folder) == build_background_rows(case.brand, manifest, predictor, case.rows[300:]), "other rows the second time"


@pytest.mark.parametrize("options", [{"may_store": False}, {"privacy": "personal"}])
def test_rows_that_must_not_be_kept_are_made_of_what_is_common(options: dict[str, Any], tmp_path: Path) -> None:
    case, folder, manifest = packaged(tmp_path, **options)
    found, held_out = rows_of(folder), manifest.contract.instances_of(case.rows[300:])
    assert len(found) == BACKGROUND_ROWS
    assert not any(row in held_out for row in found), "a real row is beside the model"
    assert {row["story"] for row in found} == {"a"}, "a text of a person is beside the model"
    assert 1 < len({row['wood "kind"'] for row in found}) <= 3
    assert None in {row["km to sea "] for row in found}, "missing values are part of what is common"
    assert read_background(folder, manifest).rows == BACKGROUND_ROWS


def test_fields_of_people_are_coarse_and_sensitive_ones_the_same_in_all_rows(tmp_path: Path) -> None:
    _, folder, _ = packaged(tmp_path, privacy="sensitive", edits=[PERSONAL_AGE, SENSITIVE_TOWN, SENSITIVE_WOOD, PERSONAL_DATE], code=PLAIN)
    found = rows_of(folder)
    assert {row["age/years"] for row in found} <= {0, 10, 20, 30, 39}, "an age is told to the year"
    assert len({row["age/years"] for row in found}) > 2
    assert {row["built"][4:] for row in found} == {"-01-01"}, "a date of a person is told to the day"
    assert len({row['wood "kind"'] for row in found}) == 1, "a sensitive class varies"
    assert {row["town"] for row in found} == {None}, "unlisted classes are texts of people"
    pairs = {(row["age/years"], row["built"]) for row in found}
    assert len(pairs) > len({row["age/years"] for row in found}), "the fields of a row belong together"


PLAIN = """
def build_features(rows):
    return rows[["km to sea ", "age/years", 'wood "kind"', "town"]].assign(log=0.0, old=0.0, ratio=0.0, month=1.0)


def build_estimator(**params):
    return None
"""


def test_a_constant_has_a_background_too_and_nothing_moves_it(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    package_constant(
        tmp_path / "zero",
        brand=case.brand,
        model_name="price",
        rows_holdout=case.rows[300:],
        classes=["no", "yes"],
        constant=[0.75, 0.25],
        code=case.code,
    )
    manifest = read_manifest(tmp_path / "zero")
    background = read_background(tmp_path / "zero", manifest)
    question = Question(background, {name: values[0] for name, values in background.columns.items()})
    found = question.explain(load_predictor(tmp_path / "zero", manifest).predict(question.columns), manifest)
    assert (found.base, set(found.contributions.values())) == (0.25, {0.0})


def test_the_cards_reasons_name_what_moves_answers_and_show_no_row_of_people(tmp_path: Path) -> None:
    case, folder, manifest = packaged(tmp_path, edits=[PERSONAL_AGE], code=PLAIN)
    predictor, background = load_predictor(folder, manifest), rows_of(folder)
    reasons = collect_reasons(predictor, manifest, background, case.rows[300:360], 20.0, may_show=True)
    assert reasons is not None and reasons.contributions.shape == (60, 7)
    assert reasons.fields[0] == "age/years" and dict(reasons.strengths)["story"] == 0
    age, sea = reasons.fields.index("age/years"), reasons.fields.index("km to sea ")
    assert not reasons.shown_apart[age] and np.isnan(reasons.places[:, age]).all()
    assert reasons.shown_apart[sea] and np.nanmax(reasons.places[:, sea]) == 1
    assert np.isnan(reasons.places[:, reasons.fields.index("town")]).all(), "texts have no order"
    closed = collect_reasons(predictor, manifest, background, case.rows[300:360], 20.0, may_show=False)
    assert closed is not None and not any(closed.shown_apart)


def test_reasons_end_with_their_time_and_with_code_that_refuses_mixed_rows(tmp_path: Path) -> None:
    case, folder, manifest = packaged(tmp_path)
    background = rows_of(folder)
    assert collect_reasons(load_predictor(folder, manifest), manifest, background, case.rows[300:], -1.0, may_show=True) is None

    class Refusing:
        def predict(self, columns: Any) -> Any:
            raise ValueError("an oak of pine")

    assert collect_reasons(Refusing(), manifest, background, case.rows[300:], 5.0, may_show=True) is None
