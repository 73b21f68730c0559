"""Settings come from the environment, once, and a wrong one is said without its value."""

from pathlib import Path

import pytest

from brandhouse_shared.errors import SettingsError
from brandhouse_shared.settings import load_settings


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "brands").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("ROOT", "HOME", "LEDGER_URL", "ACTOR", "PREFECT_PORT", "METRICS_TOKEN"):
        monkeypatch.delenv(f"BRANDHOUSE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_variable_everything_lies_in_the_workspace(house: Path) -> None:
    settings = load_settings()
    assert (settings.root, settings.home) == (house, house / ".brandhouse")
    assert settings.ledger_url.get_secret_value() == f"sqlite:///{house / '.brandhouse' / 'ledger.db'}"
    assert settings.actor and settings.prefect_port == 4200


def test_variables_set_what_they_name(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDHOUSE_PREFECT_PORT", "4300")
    monkeypatch.setenv("BRANDHOUSE_METRICS_TOKEN", "open sesame")
    monkeypatch.setenv("BRANDHOUSE_SILO_DASK_ADDRESSES", '{"casa": "tls://one:1"}')
    monkeypatch.setenv("BRANDHOUSE_MLFLOW_URL", "")
    settings = load_settings()
    assert (settings.prefect_port, settings.silo_dask_addresses, settings.mlflow_url) == (4300, {"casa": "tls://one:1"}, None)
    assert "open sesame" not in repr(settings), "a secret is not shown"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PREFECT_PORT", "many-secret", "BRANDHOUSE_PREFECT_PORT: Input should be a valid integer"),
        ("SILO_DASK_ADDRESSES", "casa=secret", "BRANDHOUSE_SILO_DASK_ADDRESSES: no JSON; allowed: an object"),
        ("SILO_DASK_ADDRESSES", '["secret"]', "BRANDHOUSE_SILO_DASK_ADDRESSES: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_repeated(
    house: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"BRANDHOUSE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
