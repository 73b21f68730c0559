"""Where an answer came from and the same answer again; and a clear state for everything that can be gone."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import serving_house
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, House

from brandhouse_aftercare.evidence import PieceState
from brandhouse_aftercare.lineage import UnknownTargetError, read_lineage, say_tree, write_picture
from brandhouse_aftercare.rebuilding import rebuild
from brandhouse_aftercare.replaying import NotLoggedError, Replay, replay
from brandhouse_serving import conversion
from brandhouse_serving.local import predict_here
from brandhouse_serving.prediction_lookup import LogDamagedError
from brandhouse_shared.config import Privacy
from brandhouse_shared.errors import UnknownVersionError
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey

PRICE = ModelKey("casa", "price")
ROWS = [{"area": 80.5, "rooms": 3, "garden": True, "town": "Delft"}, {"area": 120.0, "rooms": 4, "garden": None, "town": "Gouda"}]


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=tester", "-c", "user.email=tester@house.example", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, make_workspace: Callable[[Path], Any]) -> Any:
    """A house in Git whose `casa/price/v1` was trained from a commit."""
    workspace = make_workspace(tmp_path_factory.mktemp("replay"))
    (workspace.root / ".gitignore").write_text("home/\n__pycache__/\n*.csv\n.dvc/\n")
    git(workspace.root, "init", "--quiet")
    git(workspace.root, "add", "--all")
    git(workspace.root, "commit", "--quiet", "--message", "Two brands")
    workspace.train(PRICE)
    return workspace


@pytest.fixture(scope="module")
def made(workspace: Any) -> list[str]:
    """Ids of two predictions of one request, in Parquet."""
    answer = asyncio.run(predict_here(workspace.settings, PRICE, ROWS))
    conversion.convert_all(workspace.home)
    return list(answer["prediction_ids"])


def played(workspace: Any, prediction_id: str) -> Replay:
    return replay(workspace.settings, workspace.ledger, workspace.store, prediction_id)


def states(found: Replay) -> dict[str, str]:
    return {piece.name: str(piece.state) for piece in found.pieces}


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Take a file or folder away for a while."""
    hidden = path.with_name(f"{path.name}.away")
    path.rename(hidden)
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        hidden.replace(path)


def test_an_answer_comes_out_again_bit_by_bit_with_all_it_was_made_of(workspace: Any, made: list[str]) -> None:
    found = played(workspace, made[1])

    document = found.as_document()
    record = workspace.ledger.find_version(PRICE.version(1)).record
    assert found.match is True and found.is_sound and found.differences == ()
    assert "2 rows were asked together, as then" in found.reason
    assert states(found) == dict.fromkeys(("artifact", "snapshot", "commit", "environment", "inputs"), "ok")
    assert document["git_commit"] == git(workspace.root, "rev-parse", "HEAD") and document["git_dirty"] is False
    for name in ("snapshot_hash", "lock_hash", "artifact_digest", "code_digest", "template_version", "run_id"):
        assert document[name] == getattr(record, name)
    assert (document["promoted_by"], document["promoted_why"]) == ("training template", "all gates passed on the hold-out")
    assert document["run_by"] == "tester"


def test_an_answer_that_was_another_is_told_apart_by_its_last_bit(workspace: Any, tmp_path: Path) -> None:
    import numpy as np

    answer = asyncio.run(predict_here(workspace.settings, PRICE, ROWS[:1]))
    (segment,) = (workspace.home / "predictions" / "casa" / "_journal").glob("*.jsonl")
    entry = json.loads(segment.read_bytes())
    entry[5][0] = float(np.nextafter(entry[5][0], np.inf))
    segment.write_text(json.dumps(entry) + "\n")

    found = played(workspace, answer["prediction_ids"][0])
    assert found.match is False and not found.is_sound
    (difference,) = found.differences
    assert difference.part == "prediction" and difference.amount is not None and 0 < difference.amount < 1e-9
    segment.unlink()


def test_a_snapshot_that_is_gone_from_cache_and_remote_is_missing(workspace: Any, made: list[str]) -> None:
    places = [workspace.home / place for place in ("cache/dvc/casa", "snapshots/casa")]
    for path in places:
        shutil.rmtree(path, ignore_errors=True)
    found = played(workspace, made[0])
    assert states(found)["snapshot"] == "ok", "it is fetched from the remote"
    for path in places:
        shutil.rmtree(path, ignore_errors=True)
    with away(workspace.home / "remotes" / "casa"):
        found = played(workspace, made[0])
        again = rebuild(workspace.settings, workspace.ledger, workspace.store, workspace.ledger.find_version(PRICE.version(1)))
    assert states(found)["snapshot"] == "missing" and found.match is True and not found.is_sound
    assert "backup" in next(piece.advice for piece in found.pieces if piece.name == "snapshot")
    assert again.state == "not possible" and "no snapshot" in again.reasons[0]


def test_a_commit_that_a_rewritten_history_lost_is_missing(workspace: Any, made: list[str], tmp_path: Path) -> None:
    with away(workspace.root / ".git"):
        git(workspace.root, "init", "--quiet")
        git(workspace.root, "add", "--all")
        git(workspace.root, "commit", "--quiet", "--message", "Another history")
        found = played(workspace, made[0])
    assert states(found)["commit"] == "missing" and found.match is True and not found.is_sound


def test_an_artifact_that_is_gone_or_altered_is_said_and_nothing_is_computed(workspace: Any, made: list[str]) -> None:
    record = workspace.ledger.find_version(PRICE.version(1)).record
    folder = workspace.store.path_of(PRICE, record.artifact_digest)
    with away(folder):
        found = played(workspace, made[0])
    assert states(found)["artifact"] == "missing" and found.match is None and not found.is_sound
    with away(folder):
        shutil.copytree(folder.with_name(f"{folder.name}.away"), folder)
        (folder / "model.onnx").write_bytes(b"other")
        assert states(played(workspace, made[0]))["artifact"] == "damaged"


def test_a_log_that_was_cut_short_and_an_id_that_nobody_has_are_errors(workspace: Any, made: list[str]) -> None:
    (part,) = (workspace.home / "predictions" / "casa" / "price").glob("*/part-*.parquet")
    with away(part):
        with pytest.raises(NotLoggedError, match="no prediction of that id in the log"):
            played(workspace, made[0])
        part.write_bytes(part.with_name(f"{part.name}.away").read_bytes()[:100])
        with pytest.raises(LogDamagedError, match="cannot be read"):
            played(workspace, made[0])


def test_a_changed_lock_is_told_and_is_no_fault(workspace: Any, made: list[str]) -> None:
    lock = workspace.root / "requirements.lock"
    with away(lock):
        lock.write_text("scikit-learn==2.0\n")
        found = played(workspace, made[0])
    assert states(found)["environment"] == "differs" and found.is_sound


def test_the_lineage_leads_from_snapshot_to_predictions_and_back(workspace: Any, made: list[str], tmp_path: Path) -> None:
    record = workspace.ledger.find_version(PRICE.version(1)).record
    for target in ("casa", "casa/price", "casa/price/v1", record.snapshot_hash[:8]):
        found = read_lineage(workspace.settings, workspace.ledger, target)
        assert [node.kind for node in found.nodes] == ["snapshot", "run", "version", "stage", "predictions"], target
        assert (found.version_count, found.prediction_count, len(found.edges)) == (1, len(made), 4)
    tree = say_tree(found)
    assert tree[0].startswith(f"casa/homes {record.snapshot_hash[:12]}, 400 rows")
    assert tree[-1].strip() == "└─ 2 predictions in the log"
    write_picture(found, tmp_path / "lineage.svg")
    picture = (tmp_path / "lineage.svg").read_text()
    assert picture.startswith("<svg") and picture.count("<path") == 4 and "casa/price/v1" in picture
    for target in ("nobody", "casa/nothing", "ffffffff", "casa/price/v1/x"):
        with pytest.raises(UnknownTargetError, match="allowed: BRAND, BRAND/MODEL"):
            read_lineage(workspace.settings, workspace.ledger, target)
    with pytest.raises(UnknownVersionError, match="v9"):
        read_lineage(workspace.settings, workspace.ledger, "casa/price/v9")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def answered(house: House, key: ModelKey, *rows: dict[str, Any]) -> list[Replay]:
    answer = asyncio.run(predict_here(house.settings, key, list(rows)))
    return [replay(house.settings, house.ledger, house.store, identifier) for identifier in answer["prediction_ids"]]


def test_what_may_not_be_stored_is_not_compared_and_never_called_equal(house: House) -> None:
    house.edit_brand("casa", "[datasets.homes]", "[capabilities]\nmay_store_predictions = false\n\n[datasets.homes]")
    house.register_casa(2.0)
    (found,) = answered(house, CASA, CASA_ROW)
    assert found.match is None and "may_store_predictions" in found.reason
    assert states(found)["inputs"] == "not_recorded" and found.provenance.prediction is None


def test_the_constant_that_stood_in_is_recomputed_without_any_input(house: House) -> None:
    house.alter_artifact(house.register_casa(2.0))
    house.register_constant()
    (found,) = answered(house, CASA, CASA_ROW)
    assert (found.match, found.provenance.prediction) == (True, 321.0)


@pytest.mark.slow
def test_a_person_s_fields_keep_an_answer_from_being_compared(house: House) -> None:
    house.register_stil()
    (found,) = answered(house, STIL, STIL_ROW)
    assert found.match is None and "town, health" in found.reason
    assert states(found)["inputs"] == "withheld" and "Delft" not in json.dumps(found.as_document())


@pytest.mark.slow
def test_a_python_version_answers_again_in_the_brand_s_own_process(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    public = {name: field.model_copy(update={"privacy": Privacy.PUBLIC}) for name, field in serving_house.STIL_INPUTS.items()}
    monkeypatch.setattr(serving_house, "STIL_INPUTS", public)
    house.register_stil()
    both = answered(house, STIL, STIL_ROW, STIL_ROW | {"visits": 1})
    assert [found.match for found in both] == [True, True]
    assert all(found.provenance.probabilities is not None for found in both)


@pytest.mark.slow
def test_training_again_from_the_record_yields_the_same_model_and_leaves_nothing(workspace: Any) -> None:
    version = workspace.ledger.find_version(PRICE.version(1))
    before = len(workspace.ledger.versions(PRICE)), len(workspace.ledger.runs(PRICE))
    found = rebuild(workspace.settings, workspace.ledger, workspace.store, version)
    assert found.state == "same model" and found.is_sound, found
    assert {one.name: one.is_same for one in found.files}["model.onnx"]
    assert (len(workspace.ledger.versions(PRICE)), len(workspace.ledger.runs(PRICE))) == before
    assert len(git(workspace.root, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_another_result_of_training_again_is_explained(tmp_path: Path, make_workspace: Callable[[Path], Any]) -> None:
    workspace = make_workspace(tmp_path)
    code = "brands/casa/src/brand_casa/price.py"
    workspace.edit(code, "random_state=0", "random_state=None, subsample=0.5")
    (workspace.root / ".gitignore").write_text("home/\n__pycache__/\n*.csv\n.dvc/\n")
    git(workspace.root, "init", "--quiet")
    git(workspace.root, "add", "--all")
    git(workspace.root, "commit", "--quiet", "--message", "Two brands")
    workspace.train(PRICE)
    workspace.edit(code, "n_estimators=60", "n_estimators=61")
    workspace.train(PRICE)

    drawn, dirty = (
        rebuild(workspace.settings, workspace.ledger, workspace.store, workspace.ledger.find_version(PRICE.version(number)))
        for number in (1, 2)
    )
    assert drawn.state == "differs" and any("packages installed now differ" in reason for reason in drawn.reasons), drawn.reasons
    graph = next(one for one in drawn.files if one.name == "model.onnx")
    assert not graph.is_same and ("numbers" in graph.detail or "another graph" in graph.detail)
    assert any("the work tree differed from the commit" in reason for reason in dirty.reasons)
    assert not any("brand's code is" in reason for reason in dirty.reasons), "what was not committed had been kept with the run"


def test_an_erased_snapshot_is_no_fault(workspace: Any, made: list[str]) -> None:
    # The last test: what is in the ledger stays there.
    record = workspace.ledger.find_version(PRICE.version(1)).record
    facts = {"snapshots": [{"dataset": "homes", "before": record.snapshot_hash, "after": None}]}
    entry = Entry(
        kind=EntryKind.ERASURE, brand="villa", name="subject x", state="done", detail="1 row", facts=facts, actor="t", at=datetime.now(UTC)
    )
    workspace.ledger.record_entry(entry)
    assert states(played(workspace, made[0]))["snapshot"] == "ok", "another brand's erasure says nothing of this one's"
    workspace.ledger.record_entry(entry.model_copy(update={"brand": "casa"}))
    found = played(workspace, made[0])
    assert states(found)["snapshot"] == PieceState.ERASED and found.is_sound and found.match is True
