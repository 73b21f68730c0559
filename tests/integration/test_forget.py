"""A person is found and removed everywhere in one brand, and another brand's data stay byte for byte."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from data_house import object_of
from erasure_house import NEW, NOW, OLD, PERSON, ErasureHouse

from brandhouse_aftercare.erasure_intents import begun_intents
from brandhouse_aftercare.erasure_records import erased_snapshots, find_erasure
from brandhouse_aftercare.forgetting import IncompleteErasureError, forget, look
from brandhouse_aftercare.lineage import read_lineage
from brandhouse_aftercare.retrain_due import due_retrainings
from brandhouse_aftercare.subject_search import Person, SubjectError
from brandhouse_flows.acceptance import require_learnable
from brandhouse_flows.content import hash_file
from brandhouse_flows.data_places import SnapshotMissingError
from brandhouse_flows.data_project import Snapshot
from brandhouse_flows.datasets import read_table
from brandhouse_flows.erased_hashes import ErasedBytesError
from brandhouse_flows.label_book import LabelBook
from brandhouse_serving.prediction_records import find_record, read
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.ledger.records import EntryKind
from brandhouse_shared.names import ModelKey

BOATS = ModelKey("boats", "price")


@pytest.fixture
def house(tmp_path: Path) -> ErasureHouse:
    house = ErasureHouse(tmp_path / "house")
    house.add("boats")
    return house


def erase(house: ErasureHouse, person: Person | None = None) -> Any:
    return forget(house.settings, house.ledger, house.brand("boats"), person or Person(PERSON), NOW)


def test_a_person_is_gone_everywhere_and_the_other_brand_stays_byte_for_byte(house: ErasureHouse) -> None:
    house.add("bikes")
    others, before = house.tree("bikes"), house.hashes("boats")
    findings = look(house.settings, house.ledger, house.brand("boats"), Person(PERSON))
    assert findings.counts == {
        "snapshots looked at": 2,
        "snapshots with the person": 2,
        "rows in snapshots": 3,
        "predictions": 1,
        "labels of predictions": 1,
        "quarantine files": 1,
        "files of hold-out answers": 0,
        "lines of label books": 2,
        "versions trained on it": 2,
    }
    assert house.hashes("boats") == before and house.texts_of("boats"), "looking changes nothing"

    certificate, path = erase(house)

    assert house.tree("bikes") == others
    assert house.texts_of("boats") == [], "neither the value nor its hash is in any file of the brand"
    for hash_md5 in before:
        for place in ("remotes", "cache/dvc"):
            assert not object_of(house.settings, place, "boats", hash_md5).exists()
        with pytest.raises(SnapshotMissingError):
            house.project("boats").fetch("sales", hash_md5)
    pointer = house.project("boats").pointer("sales").hash_md5
    workspace = house.root / "brands/boats/data/sales.csv"
    assert hash_file(workspace) == pointer and pointer not in before
    assert workspace.read_text() == NEW.replace("k-17,1,10\n", "").replace("k-17,4,40\n", "")
    assert {one["before"] for one in certificate.snapshots} == set(before)
    assert [hash_file(house.project("boats").fetch("sales", str(one["after"]))) for one in certificate.snapshots] == [
        one["after"] for one in certificate.snapshots
    ]
    answers = read(house.home, BOATS, NOW.replace(hour=0), NOW.replace(hour=23))
    assert len(answers) == 2 and answers["label"].notna().all(), "two other people's answers and labels stay"
    assert list(LabelBook(house.home, BOATS).picked()) == ["row-k-18"] and list(LabelBook(house.home, BOATS).labels()) == ["row-k-18"]
    assert certificate.counts == findings.counts and path.stat().st_mode & 0o077 == 0
    assert PERSON not in path.read_text() + path.with_suffix(".json").read_text()


def test_the_ledger_says_what_happened_and_never_whom_it_is_about(house: ErasureHouse) -> None:
    before = house.hashes("boats")
    certificate, path = erase(house)

    begun, done = house.ledger.entries(EntryKind.ERASURE, "boats", oldest_first=True)
    assert (begun.state, done.state, done.value) == ("begun", "done", 4.0)
    assert done.name == f"subject {certificate.digest[:16]}" and done.facts["certificate"] == path.name
    assert PERSON.encode() not in (house.home / "ledger.db").read_bytes()
    assert set(erased_snapshots(house.ledger, "boats")) == set(before)
    assert find_erasure(house.ledger, "bikes", before[0]) is None
    marks = house.ledger.entries(EntryKind.MARK, "boats")
    assert {(mark.number, mark.name) for mark in marks} == {(1, "trained_on_erased_data"), (2, "trained_on_erased_data")}
    (due,) = due_retrainings(house.ledger, [house.brand("boats")], NOW)
    assert (due.key, due.trigger) == (BOATS, "erasure")
    remarks = {node.label[:14]: node.remarks for node in read_lineage(house.settings, house.ledger, "boats").nodes if node.remarks}
    assert remarks["boats/price/v1"] == ("trained_on_erased_data",)


@pytest.mark.slow
def test_erased_bytes_never_come_in_again_although_the_source_still_has_them(house: ErasureHouse) -> None:
    erase(house)
    present = house.project("boats").pointer("sales").hash_md5
    assert house.project("boats").import_source("sales").hash_md5 == present, "a training goes on with what is there"
    assert house.project("boats").import_source("sales", accept_new=True).hash_md5 == present
    with pytest.raises(ErasedBytesError, match="erased at a person's request"):
        house.project("boats").keep("sales", house.root / "sources" / "boats.csv")
    assert look(house.settings, house.ledger, house.brand("boats"), Person(PERSON)).is_empty


@pytest.mark.slow
def test_predictions_alone_are_erased_by_their_ids(house: ErasureHouse) -> None:
    before = house.hashes("boats")
    kept, theirs = house.answer("boats", "k-18", "k-18")
    certificate, _ = erase(house, Person("", frozenset([theirs])))
    assert (certificate.counts["predictions"], certificate.counts["labels of predictions"], certificate.snapshots) == (1, 1, [])
    assert find_record(house.home, theirs) is None and find_record(house.home, kept) is not None
    assert house.hashes("boats") == before


@pytest.mark.slow
def test_what_cannot_be_looked_at_is_listed(tmp_path: Path) -> None:
    house = ErasureHouse(tmp_path / "house")
    house.add("boats", privacy="sensitive")
    (house.root / "sources" / "boats.csv").write_text("name,size,price\nann,1,1\n")
    house.project("boats").import_source("sales", accept_new=True)
    findings = look(house.settings, house.ledger, house.brand("boats"), Person(PERSON))
    why = {one.what: one.why for one in findings.unreached}
    assert "is sensitive and not kept" in why["answers of boats/price"]
    assert any("no column 'who'" in reason for reason in why.values())
    assert {"backups", "source of sales", "models"} <= set(why)
    for place in ("remotes", "cache/dvc"):
        object_of(house.settings, place, "boats", house.hashes("boats")[0]).unlink()
    shutil.rmtree(house.home / "snapshots" / "boats" / house.hashes("boats")[0])
    lost = look(house.settings, house.ledger, house.brand("boats"), Person(PERSON))
    assert any("no snapshot" in one.why for one in lost.unreached), "one that is gone already was not looked at"


@pytest.mark.parametrize(
    ("subject", "person", "said"),
    [
        ("", Person(PERSON), "no dataset says whom its rows are about"),
        ('subject = "who"', Person(""), "nobody is named"),
        (
            'subject = "who"',
            Person("", frozenset(["bikes.price.v1.0199c2f0a1b.Zk3rT0q8Yw1xLm2P"])),
            "1 of the predictions are not of this brand",
        ),
    ],
)
def test_a_person_who_cannot_be_looked_for_is_refused(tmp_path: Path, subject: str, person: Person, said: str) -> None:
    house = ErasureHouse(tmp_path / "house")
    house.declare("boats", subject)
    with pytest.raises(SubjectError, match=said):
        look(house.settings, house.ledger, house.brand("boats"), person)


def test_data_that_do_not_say_whom_they_are_about_are_refused(tmp_path: Path) -> None:
    house = ErasureHouse(tmp_path / "house")
    brand, path = house.declare("boats", 'subject = "customer"'), tmp_path / "sales.csv"
    path.write_text(OLD)
    snapshot = Snapshot("sales", "data/sales.csv", "0" * 32, path.stat().st_size, path, changed=True)
    with pytest.raises(DatasetError, match=r"lacks 'customer', which brand.toml names as its `subject`; columns: who, size, price"):
        require_learnable(brand, snapshot, read_table(brand.config.datasets["sales"], path))


@pytest.mark.slow
def test_a_present_snapshot_that_would_be_left_empty_is_refused_before_anything_is_lost(house: ErasureHouse) -> None:
    (house.root / "sources" / "boats.csv").write_text(f"who,size,price\n{PERSON},1,1\n")
    house.project("boats").import_source("sales", accept_new=True)
    with pytest.raises(SubjectError, match="all rows of the present snapshot"):
        erase(house)
    assert all(house.project("boats").fetch("sales", one) for one in house.hashes("boats"))


@pytest.mark.slow
def test_two_erasures_of_a_brand_take_turns(house: ErasureHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from brandhouse_aftercare import forgetting
    from brandhouse_flows.content import exclusive

    monkeypatch.setattr(forgetting, "LOCK_WAIT_SECONDS", 0.1)
    with exclusive(house.home / "locks" / "erasure-boats.lock", 1), pytest.raises(RetryableError, match="another erasure is under way"):
        erase(house)


@pytest.mark.slow
def test_what_comes_in_meanwhile_is_found_and_the_same_command_goes_on(house: ErasureHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from brandhouse_aftercare import forgetting

    original = forgetting.erase_hits

    def with_a_late_answer(*arguments: Any) -> None:
        original(*arguments)
        house.answer("boats", PERSON)

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "erase_hits", with_a_late_answer)
        with pytest.raises(IncompleteErasureError, match="predictions 1, labels of predictions 1"):
            erase(house)
    assert len(begun_intents(house.home, "boats")) == 1
    certificate, _ = erase(house)
    assert certificate.counts["rows in snapshots"] == 3, "what the first attempt found is in the certificate"
    assert begun_intents(house.home, "boats") == [] and house.texts_of("boats") == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_kill_at_any_change_of_a_file_is_made_up_for_by_the_same_command(tmp_path: Path) -> None:
    driver = Path(__file__).parents[1] / "fixtures" / "erasure_house.py"
    killed, place = 0, 1
    while True:
        house = ErasureHouse(tmp_path / f"house-{place}")
        house.add("boats")
        before = house.hashes("boats")
        done = subprocess.run([sys.executable, str(driver), str(house.root), str(place)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        certificate, _ = erase(house)
        assert house.texts_of("boats") == [], place
        assert {one["before"] for one in certificate.snapshots} == set(before), place
        assert hash_file(house.root / "brands/boats/data/sales.csv") == house.project("boats").pointer("sales").hash_md5, place
        assert certificate.versions == ["boats/price/v1", "boats/price/v2"], place
        assert len([one for one in house.ledger.entries(EntryKind.ERASURE, "boats") if one.state == "done"]) == 1, place
        place += 4
    assert killed >= 6, done.stdout


@pytest.mark.slow
def test_the_command_counts_first_and_removes_only_with_yes(house: ErasureHouse) -> None:
    import os

    environment = {
        **os.environ,
        "BRANDHOUSE_ROOT": str(house.root),
        "BRANDHOUSE_HOME": str(house.home),
        "BRANDHOUSE_LEDGER_URL": house.settings.ledger_url.get_secret_value(),
    }

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).with_name("brandhouse")), "forget", "boats", *options]
        return subprocess.run(command, env=environment, input=f"{PERSON}\n", capture_output=True, text=True, check=False)

    shown = run("--subject", "-")
    assert shown.returncode == 0 and "nothing was changed" in shown.stdout and PERSON not in shown.stdout + shown.stderr
    assert house.texts_of("boats")
    done = run("--subject", "-", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["rows in snapshots"] == 3 and house.texts_of("boats") == []
    assert "done" in run("--list").stdout
