"""`brandhouse infra synth`: one file a brand through the CDK, the same bytes each time, and no other's when one changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.infra_house import NAMES, write_brand, write_house

from brandhouse_infra import synthesis
from brandhouse_infra.blocks import empty_blocks
from brandhouse_infra.workplace import Workplace
from brandhouse_shared.settings import Settings, environment_of

COMMAND = str(Path(sys.executable).with_name("brandhouse"))


def synth(settings: Settings, *arguments: str) -> list[dict[str, Any]]:
    command = [COMMAND, "infra", "synth", *arguments, "--target", "aws", "--json"]
    done = subprocess.run(command, cwd=settings.root, env=_variables(settings), capture_output=True, text=True, check=True)
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = write_house(tmp_path_factory.mktemp("house") / "work")
    synth(settings, "--all")
    return settings


def test_one_file_a_brand_is_written_with_nothing_empty_in_it(house: Settings) -> None:
    files = _files(house)
    assert sorted(files) == sorted(NAMES)
    for name, content in files.items():
        document = json.loads(content)
        document.pop("//")  # the CDK's own remarks
        assert empty_blocks(document) == [], name
        assert document["terraform"]["backend"] == {"s3": document["terraform"]["backend"]["s3"]}, "the CDK added a backend of its own"
        assert str(house.root) not in content.decode(), f"{name} names a folder of this machine"


def test_a_new_brand_and_a_changed_one_leave_all_other_files_byte_for_byte(house: Settings) -> None:
    before = _files(house)
    times = {name: _file(house, name).stat().st_mtime_ns for name in before}
    write_brand(house.root, "villa")
    write_brand(house.root, "casa", budget=99)
    changed = {one["stack"]: one["changed"] for one in synth(house, "--all")}
    after = _files(house)
    assert changed == {"auto": False, "auto_deals": False, "casa": True, "villa": True}
    assert {name: after[name] for name in ("auto", "auto_deals")} == {name: before[name] for name in ("auto", "auto_deals")}
    assert all(_file(house, name).stat().st_mtime_ns == times[name] for name in ("auto", "auto_deals")), "an equal file was written anew"


def test_many_brands_are_written_by_two_apps_at_once_to_the_same_bytes(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files(house)
    monkeypatch.setattr(synthesis, "MANY", 2)
    work = Workplace.of(house, "aws", "production", house.home / "twice")
    written = work.write(work.stacks(sorted(before)))
    assert [one.name for one in written] == sorted(before)
    assert {one.name: one.file.read_bytes() for one in written} == before


@pytest.mark.slow
def test_the_platform_is_written_when_it_is_named_and_names_no_brand(house: Settings) -> None:
    (one,) = synth(house, "platform")
    text = Path(one["file"]).read_text()
    assert one["stack"] == "brandhouse-platform"
    assert not [name for name in NAMES if f"-{name}-" in text], "the platform's stack names a brand"


@pytest.mark.slow
def test_a_colliding_name_is_told_without_a_trace_and_nothing_is_written(house: Settings) -> None:
    write_brand(house.root, "ca_sa")
    write_brand(house.root, "ca__sa")
    command = [COMMAND, "infra", "synth", "auto"]
    done = subprocess.run(command, cwd=house.root, env=_variables(house), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "would share buckets" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("ca_sa", "ca__sa"):
        (house.brands_dir / name / "brand.toml").unlink()


def _variables(settings: Settings) -> dict[str, str]:
    return {**os.environ, **environment_of(settings)}


def _file(settings: Settings, name: str) -> Path:
    return settings.home / "infra" / "aws" / "production" / "stacks" / name / "cdk.tf.json"


def _files(settings: Settings) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in _file(settings, "x").parents[1].glob("*/cdk.tf.json")}
