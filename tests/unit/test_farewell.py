"""A brand leaves: a dry run changes nothing, one that stays is refused, and the archive holds all of it and nothing of another."""

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.infra_house import write_brand, write_house
from typer.testing import CliRunner

from brandhouse_aftercare.farewell import MANIFEST, Belongings, FarewellError, check_archive, export, look, say_farewell
from brandhouse_console.main import app
from brandhouse_serving import prediction_ids
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule
from brandhouse_shared.brands import find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, StageChange, VersionRecord
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey
from brandhouse_shared.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FOLDERS = ("bentoml", "predictions", "runs")


class House:
    """Two brands, each with files everywhere, a version in production, and an entry."""

    def __init__(self, root: Path) -> None:
        self.settings: Settings = write_house(root, ["auto", "auto_deals"])
        self.ledger: Ledger = open_ledger(self.settings.ledger_url.get_secret_value())
        for name in ("auto", "auto_deals"):
            self._fill(name)

    def look(self, name: str = "auto") -> Belongings:
        return look(self.settings, self.ledger, find_brand(self.settings.brands_dir, name), FOLDERS, {})

    def _fill(self, name: str) -> None:
        for folder in (*(f"home/{one}/{name}" for one in (*FOLDERS, "remotes")), f"brands/{name}/data"):
            (self.settings.root / folder).mkdir(parents=True)
            (self.settings.root / folder / "rows").write_text(f"of {name}")
        version = self.ledger.register_version_document(_version(name))
        self.ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor="tester", reason="test"))
        facts = {"create": 9}
        self.ledger.record_entry(
            Entry(
                kind=EntryKind.INFRA, brand=name, name="local/production", state="applied", detail="x", facts=facts, actor="tester", at=NOW
            )
        )


def _version(brand: str) -> dict[str, Any]:
    texts = {name: "x" for name, field in VersionRecord.model_fields.items() if field.annotation is str}
    numbers = dict.fromkeys(("score", "score_low", "score_high", "baseline_score", "trained_seconds"), 1.0)
    counts = dict.fromkeys(("rows_train", "rows_holdout", "seed"), 1)
    fixed = {"key": ModelKey(brand, "price"), "kind": "candidate", "runtime": "constant", "task": "regression", "production_score": None}
    own = {"created_at": NOW, "git_dirty": False, "gates_passed": True, "gates": [{"name": "threshold", "passed": True}]}
    return texts | numbers | counts | fixed | own | {"params": {}, "slices": [], "feature_statistics": {"rows": 1}}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "work")


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_the_archive_holds_all_of_the_brand_and_nothing_of_the_other(house: House, tmp_path: Path) -> None:
    archive = export(house.look(), tmp_path / "auto.tar", NOW)
    found = members(archive.path)
    expected = {"brand/brand.toml", "brand/data/rows", "remote/rows", *(f"home/{name}/rows" for name in FOLDERS)}
    assert expected <= found.keys(), expected - found.keys()
    assert not [name for name, data in found.items() if b"auto_deals" in data or "auto_deals" in name]
    (version,) = json.loads(found["ledger/versions-price.json"])
    assert version["stage"] == "production" and version["record"]["key"]
    assert json.loads(found["ledger/entries-infra.json"])[0]["facts"] == {"create": 9}
    assert archive.files == len(found) - 1 and (archive.path.stat().st_mode & 0o777) == 0o600


def test_an_altered_archive_is_noticed(house: House, tmp_path: Path) -> None:
    archive = export(house.look(), tmp_path / "auto.tar", NOW)
    check_archive(archive.path)
    data = archive.path.read_bytes()
    archive.path.write_bytes(data.replace(b"of auto", b"of otto", 1))
    with pytest.raises(FarewellError, match=r"1 part\(s\) are not what the manifest says"):
        check_archive(archive.path)
    with tarfile.open(archive.path, "w") as empty:
        empty.addfile(tarfile.TarInfo(MANIFEST), io.BytesIO())
    with pytest.raises((FarewellError, ValueError)):
        check_archive(archive.path)


def test_a_link_to_another_brand_is_not_followed(house: House, tmp_path: Path) -> None:
    (house.settings.home / "predictions" / "auto" / "theirs").symlink_to(house.settings.home / "predictions" / "auto_deals" / "rows")
    found = members(export(house.look(), tmp_path / "auto.tar", NOW).path)
    assert "home/predictions/theirs" not in found


def test_a_brand_that_stays_is_refused_and_one_that_leaves_gets_a_tombstone(house: House, tmp_path: Path) -> None:
    belongings = house.look()
    archive = export(belongings, tmp_path / "auto.tar", NOW)
    with pytest.raises(FarewellError, match="leaving = true"):
        say_farewell(house.ledger, belongings, archive, actor="tester", reason="sold", now=NOW)
    assert house.ledger.production(ModelKey("auto", "price")), "a refusal ended a version"
    write_brand(house.settings.root, "auto", leaving=True)
    entry = say_farewell(house.ledger, house.look(), archive, actor="tester", reason="sold", now=NOW)
    assert entry.seq and entry.kind is EntryKind.FAREWELL and entry.facts["sha256"] == archive.sha256
    assert entry.facts["ended"] == ["auto/price/v1"]
    assert house.ledger.production(ModelKey("auto", "price")) is None
    assert house.ledger.production(ModelKey("auto_deals", "price")), "the other brand's version ended"


def test_the_command_asks_for_the_name_and_a_place_and_tells_what_is_left_to_do(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(house.settings.root))
    monkeypatch.setenv("BRANDHOUSE_HOME", str(house.settings.home))
    monkeypatch.setenv("BRANDHOUSE_LEDGER_URL", house.settings.ledger_url.get_secret_value())
    dry = run("retire", "auto", "--reason", "sold", "--json")
    document = json.loads(dry.stdout)
    assert document["leaving"] is False and document["served"] == ["auto/price/v1 (production)"]
    assert document["destroy"] == ["brandhouse infra destroy auto --target local --environment production --confirm auto"]
    to = ("--export", str(tmp_path / "auto.tar"))
    assert "leaving = true" in str(run("retire", "auto", "--reason", "sold", *to, "--confirm", "auto").exception)
    write_brand(house.settings.root, "auto", leaving=True)
    assert "add --confirm auto" in str(run("retire", "auto", "--reason", "sold", *to, "--confirm", "auto_deals").exception)
    assert "--export FILE" in str(run("retire", "auto", "--reason", "sold", "--confirm", "auto").exception)
    assert house.ledger.production(ModelKey("auto", "price")) and not house.ledger.entries(EntryKind.FAREWELL)
    log_an_answer(house.settings.home, VersionKey("auto", "price", 1))
    done = run("retire", "auto", "--reason", "sold", *to, "--confirm", "auto")
    assert done.exit_code == 0 and "tombstone" in done.stdout, done
    parts = check_archive(tmp_path / "auto.tar")
    assert [name for name in parts if name.startswith("home/predictions/price/2026-11-22/")], "the newest answers are not in it"
    assert [entry.brand for entry in house.ledger.entries(EntryKind.FAREWELL)] == ["auto"]


def log_an_answer(home: Path, version: VersionKey) -> None:
    """As a gateway does that was stopped just now: it lies in a journal."""
    at_ms = int(NOW.timestamp() * 1000)
    (one,) = prediction_ids.make_many(version, at_ms, 1)
    log = JournaledPredictionLog(home)
    log.append(Answer(version, [one], [{"area": 1.0}], [1.0], None, at_ms, 0.2, "production", LogRule(True, ("area",), (), ())))
    log.close()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)
