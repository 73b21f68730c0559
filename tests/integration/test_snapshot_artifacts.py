"""The ingest flow shows a new snapshot in the Prefect UI, once, and never fails because of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from brandhouse_flows import snapshot_artifacts
from brandhouse_flows.ingesting import ingest_brand

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def house(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in workspace.environment.items():
        if name.startswith("BRANDHOUSE_"):
            monkeypatch.setenv(name, value)
    return workspace


def ingest(brand: str) -> Any:
    return ingest_brand(brand, accept_new=True, return_state=True)


def artifact(key: str) -> Any:
    return Artifact.get(key)


def test_a_new_snapshot_gets_a_report_and_an_artifact_with_what_changed(house: Any, make_tables: Any) -> None:
    assert ingest("casa").name == "Ingested"
    first = artifact("casa-homes-snapshot")
    assert "400 rows; 5 column(s) described, 2 by counts only" in first.data
    ingest("casa")
    assert artifact("casa-homes-snapshot").id == first.id, "nothing new, nothing shown"
    table = make_tables.casa(410)
    table["town"] = "Gouda"
    house.write_table("casa", "homes", table, pointer=False)
    ingest("casa")
    second = artifact("casa-homes-snapshot")
    assert second.id != first.id and "| `town` | large |" in second.data and "410 added, 400 removed" in second.data
    assert "Gouda" not in second.data and artifact("villa-offers-snapshot") is None
    assert len(list((house.home / "snapshots" / "casa").glob("*/reports/*.html"))) == 2


def test_a_report_that_cannot_be_made_is_a_warning_of_the_run(house: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr(snapshot_artifacts, "keep_report", fail)
    assert ingest("villa").name == "Ingested"
    assert "villa/offers: no report was made: ValueError: no such font" in caplog.text
    assert artifact("villa-offers-snapshot") is None


def test_a_large_snapshot_is_left_to_the_command(house: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(snapshot_artifacts, "MAX_REPORTED_ROWS", 399)
    with caplog.at_level("INFO"):
        assert ingest("villa").name == "Ingested"
    assert "villa/offers: 400 rows; its report is made by `brandhouse data report villa/offers`" in caplog.text
    assert not list(Path(house.home / "snapshots").rglob("*.html"))
