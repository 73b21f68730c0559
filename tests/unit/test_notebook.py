"""What a brand's notebook opens is what the training sees, of its own brand only, and the hold-out stays unread."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from brandhouse_authoring.notebook import open_model
from brandhouse_flows.material import prepare_material
from brandhouse_flows.planning import plan_training
from brandhouse_flows.snapshot_records import take_snapshot
from brandhouse_shared.brands import load_brand_module
from brandhouse_shared.errors import BrandhouseError, EntrypointError, UnknownModelError
from brandhouse_shared.names import ModelKey

CASA, VILLA = ModelKey("casa", "price"), ModelKey("villa", "sold")


@pytest.fixture
def house(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A workspace in which a kernel was started: its settings come from the environment and the folder."""
    for name in [name for name in os.environ if name.startswith("BRANDHOUSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BRANDHOUSE_HOME", str(workspace.home))
    return workspace


def folder_of(house: Any, brand: str) -> Path:
    return Path(house.root / "brands" / brand)


def material_of(house: Any, key: ModelKey) -> Any:
    plan = plan_training(house.settings, key, "a-run", "local")
    snapshot = take_snapshot(house.settings, plan.brand, plan.model.dataset, house.ledger)
    return prepare_material(plan, snapshot, load_brand_module(plan.brand, plan.model.entrypoint))


@pytest.mark.parametrize(
    ("key", "split"),
    [
        (CASA, '[models.price.split]\nkind = "grouped"\nby = "agent"'),
        (CASA, '[models.price.split]\nkind = "time"\nby = "listed"\nformat = "%Y-%m-%d"'),
        (VILLA, ""),
    ],
    ids=["grouped", "time", "random"],
)
def test_rows_features_target_and_split_are_those_of_the_training(house: Any, key: ModelKey, split: str) -> None:
    house.append(f"brands/{key.brand}/brand.toml", split)
    expected, model = material_of(house, key), open_model(folder=folder_of(house, key.brand))
    pd.testing.assert_frame_equal(model.rows, expected.rows)
    pd.testing.assert_frame_equal(model.features, expected.features)
    pd.testing.assert_frame_equal(model.table, expected.table)
    assert np.array_equal(model.split.train, expected.split.train)
    assert np.array_equal(model.split.holdout, expected.split.holdout)
    classes = expected.target.classes
    truth = [classes[code] for code in expected.truth] if classes else list(expected.truth)
    assert list(model.holdout(model.target)) == truth
    assert len(model.train(model.rows)) + len(model.holdout(model.rows)) == len(model.rows)


def test_the_brand_is_found_from_any_place_below_its_folder(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder_of(house, "villa") / "notebooks" / "ideas"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert str(open_model().key) == "villa/sold"
    assert repr(open_model("sold")).startswith("villa/sold: binary of 'sold'")


def test_an_editor_may_start_the_kernel_elsewhere(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = folder_of(house, "casa") / "notebooks" / "explore.ipynb"
    notebook.parent.mkdir()
    notebook.write_text("{}")
    monkeypatch.chdir(house.root)
    with pytest.raises(BrandhouseError, match=r"is in no brand's folder; open the notebook from brands/<name>/notebooks"):
        open_model()
    shell = SimpleNamespace(user_ns={"__vsc_ipynb_file__": str(notebook)})
    monkeypatch.setitem(__import__("sys").modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert str(open_model().key) == "casa/price"
    shell.user_ns.clear()
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert str(open_model().key) == "casa/price"


def test_a_notebook_opens_models_of_its_own_brand_only(house: Any) -> None:
    with pytest.raises(UnknownModelError, match="brand 'casa' has no model 'sold'; its models: price"):
        open_model("sold", folder=folder_of(house, "casa"))
    with pytest.raises(UnknownModelError):
        open_model("villa/sold", folder=folder_of(house, "casa"))
    for brand in ("casa", "villa"):
        open_model(folder=folder_of(house, brand)).features  # noqa: B018 - loads the brand's code and data
    assert not list((house.home / "cache/dvc/casa").rglob(open_model(folder=folder_of(house, "villa")).snapshot.hash_md5[2:]))


def test_edited_features_are_loaded_anew(house: Any) -> None:
    model = open_model(folder=folder_of(house, "casa"))
    before = model.features
    house.edit("brands/casa/src/brand_casa/price.py", 'area_per_room=rows["area"] / rows["rooms"]', 'rooms_twice=rows["rooms"] * 2')
    assert set(model.features) - set(before) == {"rooms_twice"}
    assert "rooms_twice" in model.build_features(model.rows)
    assert "rooms_twice" in model.source_file.read_text()


def test_frames_are_copies(house: Any) -> None:
    model = open_model(folder=folder_of(house, "casa"))
    for name in ("rows", "features", "table"):
        frame = getattr(model, name)
        frame[frame.columns[0]] = None
        assert getattr(model, name).iloc[:, 0].notna().all(), f"a cell that changes {name} must not change what follows"


def test_last_versions_and_slices_come_from_the_ledger(house: Any) -> None:
    house.edit("brands/casa/brand.toml", 'metric = "mae"', 'metric = "mae"\nslices = ["town"]')
    model = open_model(folder=folder_of(house, "casa"))
    assert model.versions().empty
    assert model.slices().empty
    assert model.plot_slices().png.startswith(b"\x89PNG")
    record = house.ledger.find_version(house.train(CASA).version).record
    (line,) = model.versions().to_dict("records")
    assert (line["version"], line["score"], line["low"], line["high"]) == ("v1", record.score, record.score_low, record.score_high)
    slices = model.slices()
    assert set(slices["value"]) == {"Delft", "Gouda", "Zwolle"}
    judged = slices[slices["reason"] == ""]
    assert len(judged) >= 2
    assert (judged["low"] < judged["score"]).all()
    assert (judged["score"] < judged["high"]).all()
    assert len(model.plot_slices().png) > 2_000
    assert open_model(folder=folder_of(house, "villa")).versions().empty, "the other brand sees nothing of it"


def test_ideas_are_scored_by_cross_validation_on_training_rows_only(house: Any) -> None:
    class Spy(Ridge):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            seen.update(X.index)
            return super().fit(X, y)

        def predict(self, X: Any) -> Any:
            seen.update(X.index)
            return super().predict(X)

    seen: set[int] = set()
    model = open_model(folder=folder_of(house, "casa"))
    tried = model.try_estimator(Spy(), build_features=lambda rows: rows[["area", "rooms"]])
    assert seen == set(model.split.train), "every training row, and no other"
    assert list(tried.index[-1:]) == ["baseline: dummy"]
    assert {"baseline: linear", "Spy on <lambda>"} < set(tried.index)
    tried = model.try_estimator(n_estimators=30)
    assert tried.index[0] == "build_estimator(n_estimators=30)", "best first: the target depends on products"
    assert list(tried["mae"]) == sorted(tried["mae"])
    assert (tried["best"] <= tried["mae"]).all()
    assert (tried["mae"] <= tried["worst"]).all()
    assert len(model.try_estimator(n_estimators=30)) == len(tried), "the same idea keeps its line"
    assert model.plot_tried().png.startswith(b"\x89PNG")


def test_greater_is_better_puts_the_greatest_first(house: Any) -> None:
    tried = open_model(folder=folder_of(house, "villa")).try_estimator()
    assert tried.index[0] == "build_estimator()"
    assert list(tried["roc_auc"]) == sorted(tried["roc_auc"], reverse=True)
    assert (tried["best"] >= tried["roc_auc"]).all()


def test_an_idea_that_cannot_be_fitted_says_so(house: Any) -> None:
    model = open_model(folder=folder_of(house, "casa"))
    with pytest.raises(EntrypointError, match=r"build_features raised KeyError: .*rent"):
        model.try_estimator(Ridge(), build_features=lambda rows: rows[["rent"]])
    with pytest.raises(EntrypointError, match="town only: fitting Ridge raised ValueError"):
        model.try_estimator(Ridge(), name="town only", build_features=lambda rows: rows[["town"]])


def test_overview_tells_types_ranges_and_sides(house: Any) -> None:
    villa, casa = (open_model(folder=folder_of(house, brand)) for brand in ("villa", "casa"))
    inputs = villa.describe_inputs()
    assert list(inputs.index) == ["Days on offer", "pool", "region"]
    assert (inputs.loc["region", "privacy"], inputs.loc["region", "distinct"], inputs.loc["pool", "highest"]) == ("personal", 3, 1)
    sides = villa.describe_split()
    assert sides["rows"].sum() == len(villa.rows)
    assert sides["share of 'yes'"].between(0.3, 0.7).all()
    assert casa.describe_split()["median price"].gt(0).all()
    assert casa.plot_target().png.startswith(b"\x89PNG")
    assert len(casa.plot_inputs().png) > len(casa.plot_inputs("area").png)
    with pytest.raises(BrandhouseError, match="casa/price: 'rent' is no input; inputs: area, rooms, garden, town"):
        casa.plot_inputs("rent")


def test_a_brand_of_several_models_is_asked_which(house: Any) -> None:
    text = (folder_of(house, "casa") / "brand.toml").read_text()
    again = text[text.index("[models.price]") :].replace("models.price", "models.rent")
    house.append("brands/casa/brand.toml", again)
    with pytest.raises(BrandhouseError, match=r"casa has several models; say which: open_model\('price'\)"):
        open_model(folder=folder_of(house, "casa"))
    assert str(open_model("rent", folder=folder_of(house, "casa")).key) == "casa/rent"


def test_nothing_is_written_into_the_brands_folder_or_the_ledger(house: Any) -> None:
    house.train(CASA)
    model = open_model(folder=folder_of(house, "casa"))
    before = {path: path.stat().st_mtime_ns for path in folder_of(house, "casa").rglob("*") if path.is_file()}
    runs = len(house.ledger.runs())
    model.try_estimator()
    model.describe_inputs()
    after = {path: path.stat().st_mtime_ns for path in folder_of(house, "casa").rglob("*") if path.is_file()}
    assert after == before
    assert (len(house.ledger.runs()), len(house.ledger.versions(CASA))) == (runs, 1)
