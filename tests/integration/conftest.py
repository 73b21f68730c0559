"""A real Prefect server with its PostgreSQL, shared by all integration tests of a session."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from brandhouse_flows.server import PrefectServer
from brandhouse_shared.settings import Settings

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def prefect_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an empty workspace of its own."""
    root = tmp_path_factory.mktemp("workspace")
    (root / "brands").mkdir()
    (root / "pyproject.toml").touch()
    return Settings(root=root, home=root / ".brandhouse", ledger_url=SecretStr("sqlite://"), prefect_port=_free_port())


@pytest.fixture(scope="session")
def prefect_server(prefect_settings: Settings) -> Iterator[PrefectServer]:
    """A running server; a test that kills it starts it again."""
    with PrefectServer(prefect_settings, prefect_settings.prefect_port) as server:
        yield server


def _free_port() -> int:
    """A port of the range that is ours."""
    for port in range(4310, 4400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port from 4310 to 4399")
