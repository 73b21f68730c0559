"""What the commands say about canaries and shadows. What gateways see of them is in the integration tests."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import House

from brandhouse_console.main import app


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path)
    names = {"ROOT": str(house.root), "HOME": str(house.home), "LEDGER_URL": house.url, "ACTOR": "anna"}
    for name, value in names.items():
        monkeypatch.setenv(f"BRANDHOUSE_{name}", value)
    return house


def run(*arguments: str) -> str:
    """What a command prints, or the message of what it raises."""
    done = CliRunner().invoke(app, list(arguments))
    return str(done.exception) if done.exception is not None else done.output


def test_the_commands_put_a_version_on_trial_show_it_and_end_it(house: House) -> None:
    house.register_casa(2.0)
    house.register_casa(5.0, promote=False)
    assert run("promote", "casa/price", "--to", "canary", "--reason", "try") == "casa/price/v2: candidate -> canary 10 % by anna: try\n"
    house.register_casa(6.0, promote=False)
    changed = run("promote", "casa/price", "--to", "canary", "--share", "0.25", "--reason", "more")
    assert changed == "casa/price/v2: canary -> canary 25 % by anna: more\n", "the running canary is meant, not the newest candidate"
    assert "canary 25 %" in run("versions", "casa/price")
    assert "canary 25 %" in run("history", "casa/price")
    assert "v2 canary 25 %" in run("status")
    shown = json.loads(run("status", "--json"))
    assert [row["on_trial"] for row in shown] == [[{"version": 2, "stage": "canary", "share": 0.25}], [], []]
    assert run("retire", "casa/price", "--version", "v2", "--reason", "end") == "casa/price/v2: canary -> retired by anna: end\n"
    assert "on trial" not in run("status")


def test_a_share_that_cannot_be_is_refused(house: House) -> None:
    house.register_casa(2.0, promote=False)
    assert "a canary's share is above 0 and below 1" in run("promote", "casa/price", "--to", "canary", "--share", "1", "--reason", "x")
    assert "a share is for canary, not for shadow" in run("promote", "casa/price", "--to", "shadow", "--share", "0.1", "--reason", "x")


def test_a_trial_that_no_gateway_has_seen_is_listed_and_a_page_is_of_one_model(house: House, tmp_path: Path) -> None:
    assert "no version is or was in shadow or canary" in run("trial")
    house.register_casa(2.0)
    house.register_casa(5.0, promote=False)
    run("promote", "casa/price", "--to", "shadow", "--reason", "look")
    assert "nothing seen: no gateway has answered since" in run("trial", "casa/price")
    (listed,) = json.loads(run("trial", "--json"))
    assert (listed["version"], listed["stage"], listed["is_running"], listed["report"]) == ("v2", "shadow", True, None)
    assert "--html shows one model, not 2; name one, such as casa/price" in run("trial", "casa", "--html", str(tmp_path / "x.html"))
    assert run("trial", "casa/price", "--html", str(tmp_path / "x.html")).endswith(f"page: {tmp_path / 'x.html'}\n")
    assert "Trials of casa/price" in (tmp_path / "x.html").read_text()
