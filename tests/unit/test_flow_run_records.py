"""What a machine knows about its processes and runs, and whose secrets a run sees."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from brandhouse_flows.processes import ManagedProcess, ProcessIdentity, plain_environment, signal_group
from brandhouse_flows.reaper import attempt_of
from brandhouse_flows.run_records import FinalState, RunRecord, RunRecords
from brandhouse_flows.warm_worker import is_module_path, secrets_of, shared_environment


def test_process_is_recognised_again_and_a_reused_id_is_not_mistaken() -> None:
    me = ProcessIdentity.of(os.getpid())
    assert ProcessIdentity.parse(str(me)) == me and me.is_alive()
    assert not replace(me, started_ticks=me.started_ticks - 1).is_alive(), "the id now belongs to a later process"
    assert not replace(me, boot_id="of-before-the-reboot").is_alive()


@pytest.mark.parametrize("text", [None, "", "4711", "host:4711", "host:boot:x:y", "a:b:c:d:e"])
def test_foreign_infrastructure_ids_are_not_ours(text: str | None) -> None:
    assert ProcessIdentity.parse(text) is None


def test_ended_process_and_zombie_are_not_alive() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = ProcessIdentity.of(child.pid)
    assert identity.is_alive()
    signal_group(identity, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while identity.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not identity.is_alive(), "nobody has waited for it yet, but it has ended"
    child.wait()
    assert not identity.is_alive()
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(child.pid)


def test_managed_process_stops_even_if_it_ignores_the_signal(tmp_path: Path) -> None:
    script = "trap '' TERM; echo started; while true; do sleep 0.1; done"
    process = ManagedProcess(["bash", "-c", script], plain_environment(os.environ), tmp_path / "log", signal.SIGTERM)
    identity = process.start()
    deadline = time.monotonic() + 5
    while "started" not in process.last_lines() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.stop(grace_seconds=0.2)
    assert not identity.is_alive()
    assert process.last_lines() == "started"


def record_of(flow_run_id: str) -> RunRecord:
    return RunRecord(flow_run_id, ProcessIdentity("host", "boot", 1, 2), started_at=1.0)


def test_record_survives_writing_and_reading(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    written = replace(record_of("a"), final=FinalState("FAILED", "RetryableFailure", "passing", 3.0), is_reported=True)
    records.write(written)
    assert records.read("a") == written
    assert records.read("b") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"process": "x"}'])
def test_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    records = RunRecords(tmp_path)
    records.write(record_of("a"))
    (records.folder / "a.json").write_text(text)
    assert records.read("a") is None


def test_forgotten_run_has_no_record_exit_or_cancellation(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.write(record_of("a"))
    records.note_exit("a", "signal 9 (SIGKILL)")
    records.ask_to_cancel("a")
    records.forget("a")
    assert (records.read("a"), records.read_exit("a"), records.is_asked_to_cancel("a")) == (None, "", False)


def test_old_records_are_pruned_and_new_ones_kept(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    for name in ("old", "new"):
        records.write(record_of(name))
    os.utime(records.folder / "old.json", (0, 0))
    assert records.prune() == 1
    assert records.read("old") is None and records.read("new") is not None


def test_brand_sees_only_its_own_secrets() -> None:
    source = {"BRANDHOUSE_SECRET_AUTO_KEY": "1", "BRANDHOUSE_SECRET_AUTO_PLEIN_KEY": "2", "BRANDHOUSE_SECRET_B_KEY": "3", "HOME": "/"}
    known = ["auto", "auto_plein", "bb"]
    assert secrets_of("auto", known, source) == {"BRANDHOUSE_SECRET_AUTO_KEY": "1"}
    assert secrets_of("auto_plein", known, source) == {"BRANDHOUSE_SECRET_AUTO_PLEIN_KEY": "2"}
    assert secrets_of("bb", known, source) == {}


def test_shared_environment_holds_no_secret_and_nothing_unknown() -> None:
    source = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "BRANDHOUSE_HOME": "/h",
        "PREFECT_API_URL": "u",
        "PREFECT__WORKER_ID": "w",
        "BRANDHOUSE_SECRET_A_KEY": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "EDITOR": "vi",
    }
    assert set(shared_environment(source)) == {"PATH", "LC_ALL", "BRANDHOUSE_HOME", "PREFECT_API_URL"}


@pytest.mark.parametrize(
    ("entrypoint", "expected"), [("a.b:c", True), ("a:b", True), ("a/b.py:c", False), ("b.py:c", False), (None, False), ("a.b", False)]
)
def test_module_paths_are_told_from_files(entrypoint: str | None, expected: bool) -> None:
    assert is_module_path(entrypoint) is expected


@pytest.mark.parametrize(
    ("tags", "attempt"), [([], 1), (["brand:a"], 1), (["attempt:2"], 2), (["attempt:3", "retry-of:x"], 3), (["attempt:x"], 1)]
)
def test_attempt_is_read_from_tags(tags: list[str], attempt: int) -> None:
    assert attempt_of(tags) == attempt
