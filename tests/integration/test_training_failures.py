"""Bad input to a training gets a clear error, and nothing is lost or half registered."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from brandhouse_flows.intake import ingest
from brandhouse_flows.steps import call_step
from brandhouse_shared.errors import (
    AlreadyRunningError,
    BrandConfigError,
    ContractViolationError,
    DatasetError,
    DiskFullError,
    EntrypointError,
    SnapshotMismatchError,
)
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
VILLA = ModelKey("villa", "sold")
TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"
SLOW = """import pathlib, time


def build_features(rows):
    pathlib.Path(__file__).with_name('started').touch()
    time.sleep({seconds})
"""


def assert_nothing_registered(workspace: Any, key: ModelKey = CASA, outcome: str | None = "failed") -> None:
    assert workspace.ledger.versions(key) == [], "no version is registered"
    models = workspace.home / "bentoml" / key.brand / "models"
    assert not list(models.rglob("manifest.json")), "no artifact is left behind"
    if outcome:
        assert [run.outcome for run in workspace.ledger.runs(key)] == [outcome]


# -- brand code --------------------------------------------------------------------------------------------------------

BROKEN_FEATURES = {
    "rows.assign(rank=rows['area'].rank())": "other values alone than among others \\(rank\\); serving answers single rows, so put",
    "rows.assign(share=rows['area'] / rows['area'].mean())": "other values alone than among others \\(share\\)",
    "rows.assign(few=__import__('pandas').qcut(rows['area'], 4, labels=False))": "(?s)build_features raised ValueError: .*single row",
    "rows['areas']": "build_features raised KeyError: 'areas'",
    "rows.to_numpy()": "build_features returned ndarray; allowed: a pandas DataFrame",
    "rows.head(5)": "build_features returned 5 rows for 400",
    "rows.sort_values('area')": "or in another order",
    "rows[[]]": "build_features returned no column",
    "rows.assign(when=__import__('pandas').Timestamp('2024-01-01'))": "feature 'when' has type datetime64",
}


@pytest.mark.parametrize("expression", BROKEN_FEATURES)
def test_broken_features_are_refused(workspace: Any, expression: str) -> None:
    workspace.edit(
        CODE, 'return rows.assign(garden=rows["garden"].fillna(0), area_per_room=rows["area"] / rows["rooms"])', f"return {expression}"
    )
    with pytest.raises(EntrypointError, match=BROKEN_FEATURES[expression]):
        workspace.train()
    assert_nothing_registered(workspace)


BROKEN_ESTIMATORS = {
    "n_trees = 5": "build_estimator\\(n_trees\\) of candidate 'default' raised TypeError",
    "n_estimators = 'many'": "fitting Pipeline raised InvalidParameterError",
    "n_estimators = -1": "fitting Pipeline raised InvalidParameterError",
}


@pytest.mark.parametrize("params", BROKEN_ESTIMATORS)
def test_wrong_params_are_refused(workspace: Any, params: str) -> None:
    workspace.append(TOML, f"\n[models.price.candidates.default]\nparams = {{ {params} }}\n")
    with pytest.raises(EntrypointError, match=BROKEN_ESTIMATORS[params]):
        workspace.train()
    assert_nothing_registered(workspace)


def test_estimator_that_is_none_is_refused(workspace: Any) -> None:
    workspace.edit(CODE, "    return make_pipeline(town", "    make_pipeline(town")
    with pytest.raises(EntrypointError, match="build_estimator returned NoneType; allowed: a scikit-learn estimator"):
        workspace.train()


def test_classifier_without_probabilities_is_refused_with_the_way_out(workspace: Any) -> None:
    code = "brands/villa/src/brand_villa/sold.py"
    workspace.edit(code, "GradientBoostingClassifier(n_estimators=n_estimators, random_state=0)", "LinearSVC()")
    workspace.edit(code, "from sklearn.ensemble import GradientBoostingClassifier", "from sklearn.svm import LinearSVC")
    with pytest.raises(EntrypointError, match=r"has no predict_proba; wrap it in sklearn.calibration.CalibratedClassifierCV"):
        workspace.train(VILLA)
    assert_nothing_registered(workspace, VILLA)


def test_estimator_that_predicts_nothing_finite_is_refused(workspace: Any) -> None:
    workspace.append(CODE, "\n\nclass Lost(GradientBoostingRegressor):\n    def predict(self, X):\n        return super().predict(X) / 0\n")
    workspace.edit(
        CODE,
        "    return make_pipeline(town, GradientBoosting",
        "    return make_pipeline(town, Lost(n_estimators=5))\n    return (town, GradientBoosting",
    )
    with pytest.raises(EntrypointError, match="predicts values that are not finite"), pytest.warns(RuntimeWarning):
        workspace.train()


# -- data --------------------------------------------------------------------------------------------------------------


def _without_price(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="price")


BROKEN_TABLES: dict[str, Any] = {
    "casa/price: data/homes.csv lacks price, named by target, slices, fairness or split": _without_price,
    "the target 'price' is the same in all 400 rows": lambda table: table.assign(price=7),
    "all 400 rows lack the target 'price'": lambda table: table.assign(price=""),
    "the target 'price' is not a number in 400 of 400 rows": lambda table: table.assign(
        price=table["price"].map(lambda price: f"about {price}")
    ),
    "12 rows have a target; .* at least 40 are needed": lambda table: table.head(12),
}


@pytest.mark.parametrize("message", BROKEN_TABLES)
def test_unusable_target_is_refused(workspace: Any, make_tables: Any, message: str) -> None:
    workspace.write_table("casa", "homes", BROKEN_TABLES[message](make_tables.casa()))
    with pytest.raises(DatasetError, match=message):
        workspace.train()
    assert_nothing_registered(workspace)


def test_data_that_contradict_the_schema_are_refused_with_counts_and_without_values(workspace: Any, make_tables: Any) -> None:
    table = make_tables.casa()
    table.loc[:2, "town"] = "Atlantis"
    table.loc[:6, "area"] = 9_999
    workspace.write_table("casa", "homes", table)
    with pytest.raises(ContractViolationError) as caught:
        workspace.train()
    assert "area: 7 of 400 rows hold a larger number" in str(caught.value)
    assert "town: 3 of 400 rows hold another category; allowed: one of Delft, Gouda, Zwolle" in str(caught.value)
    assert "Atlantis" not in str(caught.value)
    assert_nothing_registered(workspace)


def test_metric_without_a_value_is_said(workspace: Any, make_tables: Any) -> None:
    table = make_tables.casa()
    workspace.write_table("casa", "homes", table.assign(price=table["price"].where(table.index % 3 > 0, 0)))
    workspace.edit(TOML, 'metric = "mae"', 'metric = "mape"')
    with pytest.raises(DatasetError, match="mape has no value on the hold-out: the target is zero in some rows"):
        workspace.train()
    assert_nothing_registered(workspace)


def test_metric_that_does_not_fit_the_task_is_refused_before_anything_runs(workspace: Any) -> None:
    workspace.edit(TOML, 'metric = "mae"', 'metric = "roc_auc"')
    with pytest.raises(BrandConfigError, match="metric 'roc_auc' does not fit a regression task; allowed: mae, mape, r2, rmse"):
        workspace.train()


@pytest.mark.parametrize("content", [b"area,rooms,garden,town,price\n", b"\x1f\x8b\x08half"])
def test_damaged_source_is_refused_and_what_was_there_stays(workspace: Any, content: bytes) -> None:
    workspace.train()
    pointer = (workspace.root / "brands/casa/data/homes.csv.dvc").read_text()
    (workspace.root / "sources/homes.csv").write_bytes(content)
    with pytest.raises(SnapshotMismatchError, match="its pointer names"):
        workspace.train()
    with pytest.raises(DatasetError, match=r"no row|is not utf-8"):
        ingest(workspace.settings, workspace.brand("casa"), workspace.ledger, call_step, accept_new=True)
    assert (workspace.root / "brands/casa/data/homes.csv.dvc").read_text() == pointer, "a file without rows never becomes the new snapshot"
    assert len(workspace.ledger.versions(CASA)) == 1


def test_changed_source_is_refused_until_it_is_accepted(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.write_table("casa", "homes", make_tables.casa(410), pointer=False)
    with pytest.raises(SnapshotMismatchError, match=r"its pointer names .*--accept-new"):
        workspace.train()
    (ingested,) = ingest(workspace.settings, workspace.brand("casa"), workspace.ledger, call_step, accept_new=True)
    assert (ingested.snapshot.changed, ingested.rows) == (True, {"price": 410})
    assert workspace.train().version.number == 2


# -- disk --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.onnx", "card.html"])
def test_full_disk_while_packaging_registers_nothing(workspace: Any, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    _fail_writes_to(monkeypatch, file)
    with pytest.raises(DiskFullError, match="no space left on the device that holds"):
        workspace.train()
    assert_nothing_registered(workspace)
    monkeypatch.undo()
    assert workspace.train().version.number == 1, "with space again, the same training goes through"


def _fail_writes_to(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for method in ("write_bytes", "write_text"):
        original = getattr(Path, method)

        def write(path: Path, *rest: Any, original: Any = original, **named: Any) -> int:
            if path.name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return int(original(path, *rest, **named))

        monkeypatch.setattr(Path, method, write)


@pytest.mark.parametrize("limit", [20_000, pytest.param(60_000, marks=pytest.mark.slow), pytest.param(250_000, marks=pytest.mark.slow)])
def test_files_that_may_not_grow_end_a_training_with_one_message(workspace: Any, limit: int) -> None:
    """A real limit of the operating system: the table, the ledger or the model exceeds it, whichever comes first."""
    workspace.append(TOML, "\n[models.price.candidates.default]\nparams = { n_estimators = 900 }\n")
    script = (
        "import resource, signal, sys; from brandhouse_console.main import main; import sklearn.ensemble;"
        f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "sys.argv = ['brandhouse', 'train', 'casa/price']; main()"
    )
    # -B: byte code of the platform, cut off at the limit, would stay and break every later import.
    command = [sys.executable, "-B", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=workspace.environment, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "no space left on the device that holds" in done.stderr or "SQLITE_IOERR" in done.stderr
    assert "Traceback" not in done.stderr
    assert workspace.ledger.versions(CASA) == []
    assert workspace.train().version.number == 1, "with space again, the same training goes through"


# -- processes ---------------------------------------------------------------------------------------------------------


def _start_slow_training(workspace: Any) -> "subprocess.Popen[str]":
    """Start the command with a model whose features take long, and return when they are being built."""
    code = workspace.root / CODE
    text = code.read_text()
    code.write_text(SLOW.format(seconds=30) + "    return rows\n" + text[text.index("\ndef build_estimator") :])
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("brandhouse")), "train", "casa/price"],
        env=workspace.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not code.with_name("started").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the training did not start"
        time.sleep(0.02)
    code.with_name("started").unlink()
    code.write_text(text)
    return process


def test_second_training_at_once_is_refused_and_a_killed_one_is_recorded_as_crashed(workspace: Any) -> None:
    process = _start_slow_training(workspace)
    try:
        with pytest.raises(AlreadyRunningError, match=rf"already running \(process {process.pid}, run .*wait for it or cancel it"):
            workspace.train()
        assert len(workspace.ledger.runs(CASA)) == 1, "the refused training leaves no run behind"
        assert workspace.train(VILLA).kind == "registered", "another model is not held up"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    finally:
        process.kill()
        process.communicate()
    (killed,) = workspace.ledger.runs(CASA)
    assert killed.outcome is None, "nobody was left to say how it ended"
    assert workspace.train().version.number == 1, "the lock went with the process"
    (now, killed) = workspace.ledger.runs(CASA)
    assert (now.outcome, killed.outcome) == ("registered", "crashed")
    assert "noticed by the model's next training" in killed.detail


def test_interrupted_training_is_recorded_as_cancelled(workspace: Any) -> None:
    process = _start_slow_training(workspace)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert_nothing_registered(workspace, outcome="cancelled")
