"""CODEOWNERS: generated from what brands declare, judged by another reader of that format than the one that wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest
from codeowners import CodeOwners

from brandhouse_authoring.owners import FILE, OwnershipError, list_owners, render_codeowners
from brandhouse_console.owners import owners
from brandhouse_flows.checks.owner_addresses import is_owner_address
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = "platform@house.example"


@pytest.fixture
def house(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    (workspace.root / "pyproject.toml").write_text(f'[tool.brandhouse]\nplatform_owner = "{PLATFORM}"\n')
    workspace.edit("brands/villa/brand.toml", "villa-data@house.example", "@house/villa-team")
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(workspace.root))
    monkeypatch.setenv("BRANDHOUSE_HOME", str(workspace.home))
    return workspace


def owners_of(settings: Settings, file: str) -> list[str]:
    return [owner for _, owner in CodeOwners(render_codeowners(list_owners(settings))).of(file)]


OWNED = {
    "brands/casa/brand.toml": "casa-data@house.example",
    "brands/casa/src/brand_casa/deep/er/module.py": "casa-data@house.example",
    "brands/casa/.dvc/config": "casa-data@house.example",
    "brands/casa/templates/brand/x": "casa-data@house.example",
    "brands/villa/README.md": "@house/villa-team",
    "brands/casa_two/brand.toml": PLATFORM,
    "brands/README.md": PLATFORM,
    "docs/brands/casa/x.md": PLATFORM,
    "templates/brand/brand.toml.jinja": PLATFORM,
    "platform/flows/src/brandhouse_flows/learning.py": PLATFORM,
    "shared/pyproject.toml": PLATFORM,
    "requirements.lock": PLATFORM,
    ".github/CODEOWNERS": PLATFORM,
    "infra/stack.py": PLATFORM,
}


@pytest.mark.parametrize("file", OWNED)
def test_file_belongs_to_one_owner(house: Any, file: str) -> None:
    assert owners_of(house.settings, file) == [OWNED[file]]


def test_every_file_of_the_shipped_brands_belongs_to_its_owner() -> None:
    matcher = CodeOwners((ROOT / FILE).read_text())
    brands, _ = discover_brands(ROOT / "brands")
    for brand in brands:
        files = [path for path in brand.folder.rglob("*") if path.is_file()]
        found = {owner for path in files for _, owner in matcher.of(path.relative_to(ROOT).as_posix())}
        assert found == {brand.config.owner}, brand.name


def test_committed_file_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDHOUSE_ROOT", str(ROOT))
    owners(write=False, check=True, as_json=False)


def test_stale_file_fails_and_is_written_anew(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        owners(write=False, check=True, as_json=False)
    assert "is stale; run `brandhouse owners --write`" in capsys.readouterr().err
    owners(write=True, check=False, as_json=False)
    owners(write=False, check=True, as_json=False)
    house.edit("brands/casa/brand.toml", "casa-data@", "casa-new@")
    with pytest.raises(SystemExit):
        owners(write=False, check=True, as_json=False)


def test_listing_for_machines(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    owners(write=False, check=False, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["owners"][:2] == [{"pattern": "*", "owner": PLATFORM}, {"pattern": "/brands/casa/", "owner": "casa-data@house.example"}]
    assert document["current"] is False


def test_owner_whom_nobody_can_ask_is_refused(house: Any) -> None:
    house.edit("brands/casa/brand.toml", "casa-data@house.example", "Kim from sales")
    house.edit("brands/villa/brand.toml", "@house/villa-team", "a b@c.d # x")
    with pytest.raises(OwnershipError, match=r"casa: 'Kim from sales', villa: .*allowed: an e-mail address, @user or @organisation/team"):
        list_owners(house.settings)


def test_missing_platform_team_is_said_so(house: Any) -> None:
    (house.root / "pyproject.toml").write_text("")
    with pytest.raises(OwnershipError, match=r"add `platform_owner = .* under \[tool.brandhouse\]"):
        list_owners(house.settings)


def test_brand_that_cannot_be_read_is_named(house: Any) -> None:
    house.edit("brands/casa/brand.toml", 'risk = "low"', "risk = ")
    with pytest.raises(OwnershipError, match=r"casa: its brand.toml is not valid"):
        list_owners(house.settings)


@pytest.mark.parametrize("owner", ["team@house.example", "@kim", "@house/data-team", "first.last+tag@mail.house.example"])
def test_addresses(owner: str) -> None:
    assert is_owner_address(owner)


@pytest.mark.parametrize("owner", ["team", "@", "@house/", "a b@house.example", "x@y", "a@b.c\n* @evil", "@house/team/more"])
def test_no_addresses(owner: str) -> None:
    assert not is_owner_address(owner)
