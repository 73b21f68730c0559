"""What integration tests share: a real Prefect server with its PostgreSQL, and in each module a gateway of two invented brands."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import Gateway, House, wait_until

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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The brands `casa` (compiled) and `stil` (python, a process of its own); a module with another house has its own fixture."""
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_stil()
    return house


@pytest.fixture(scope="module")
def casa_key(house: House) -> str:
    """What opens `casa`."""
    return house.add_key("casa")


@pytest.fixture(scope="module")
def stil_key(house: House) -> str:
    """What opens `stil`."""
    return house.add_key("stil")


@pytest.fixture(scope="module")
def gateway(house: House, casa_key: str, stil_key: str) -> Iterator[Gateway]:
    """A gateway process that answers for the module's house."""
    with Gateway(house) as gateway:
        wait_until(lambda: gateway.call("GET", "/readyz")[0] == 200, 60)
        yield gateway


def _free_port() -> int:
    """A port of the range that is ours."""
    for port in range(4310, 4400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port from 4310 to 4399")
