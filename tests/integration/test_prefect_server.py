"""Starting and stopping the Prefect server: taken ports, two at once, and what a kill left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from brandhouse_flows.processes import ProcessIdentity
from brandhouse_flows.server import PrefectServer, ServerStartError, is_healthy
from brandhouse_shared.settings import Settings

pytestmark = pytest.mark.alone

STARTER = """
import sys, time
from pathlib import Path
from pydantic import SecretStr
from brandhouse_flows.server import PrefectServer
from brandhouse_shared.settings import Settings
home = Path(sys.argv[1])
PrefectServer(Settings(root=home.parent, home=home, ledger_url=SecretStr("sqlite://")), int(sys.argv[2])).start()
print("up", flush=True)
time.sleep(600)
"""


def settings_of(home: Path) -> Settings:
    return Settings(root=home.parent, home=home, ledger_url=SecretStr("sqlite://"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerStartError, match=f"127.0.0.1:{port}.*BRANDHOUSE_PREFECT_PORT"):
            PrefectServer(settings_of(tmp_path / "home"), port).start()


def test_second_server_of_a_workspace_is_refused(prefect_server: PrefectServer, prefect_settings: Settings) -> None:
    with pytest.raises(ServerStartError, match="already runs"):
        PrefectServer(prefect_settings, free_port()).start()
    assert is_healthy(prefect_server.port), "the first one is not disturbed"


@pytest.mark.slow
def test_start_after_everything_was_killed_finds_what_was_there(tmp_path: Path) -> None:
    """The starting process is killed; its server and database end with it, and the next start is clean."""
    home, port = tmp_path / "home", free_port()
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(home), str(port)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None and starter.stdout.readline() == "up\n"
    found = [ProcessIdentity.parse(text) for text in _processes(home).values()]
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 20
    while any(one is not None and one.is_alive() for one in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [one for one in found if one is None or one.is_alive()], "server and database have ended with their starter"
    (home / "prefect" / "pg" / "postmaster.pid").write_text(f"{os.getpid()}\n")  # as after a reboot: the id is somebody else's now
    with PrefectServer(settings_of(home), port) as server:
        assert is_healthy(server.port)
    assert not is_healthy(port)


def _processes(home: Path) -> dict[str, str]:
    import json

    found: dict[str, str] = json.loads((home / "prefect" / "processes.json").read_text())
    return found
