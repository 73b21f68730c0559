"""A stack whose brand's folder is gone is named, with the way out, until it is destroyed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fixtures.infra_house import write_house

from brandhouse_console.infrastructure import tell_orphans
from brandhouse_infra.workplace import Workplace
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return write_house(tmp_path / "work", ["casa"])


def note(settings: Settings, brand: str, *states: str, name: str = "aws/production") -> None:
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    for state in states:
        ledger.record_entry(Entry(kind=EntryKind.INFRA, brand=brand, name=name, state=state, detail="x", facts={}, actor="tester", at=NOW))


def test_a_renamed_brands_stack_is_named_with_the_way_out(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    note(settings, "haus", "planned", "applied", "drifted")
    note(settings, "half", "applied", "failed")
    assert tell_orphans(Workplace.of(settings, "aws", "production")) == ["half", "haus"]
    said = capsys.readouterr().err
    assert "haus: its stack stands since 2026-11-22" in said and "brands/haus/ is gone" in said
    assert "brandhouse infra destroy haus --target aws --environment production --confirm haus" in said


def test_what_is_declared_never_stood_has_ended_or_stands_elsewhere_is_not_named(settings: Settings) -> None:
    note(settings, "casa", "applied")
    note(settings, "platform", "applied")
    note(settings, "seen", "planned", "clean")
    note(settings, "gone", "applied", "destroyed", "planned")
    note(settings, "away", "applied", name="aws/staging")
    assert tell_orphans(Workplace.of(settings, "aws", "production")) == []
    assert tell_orphans(Workplace.of(settings, "aws", "staging")) == ["away"]
