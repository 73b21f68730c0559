"""Alerts of two brands reach real receivers: a web hook, a hook of Slack's kind, and a mail server."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from alert_receivers import HookReceiver, MailReceiver, hook_receiver, mail_receiver
from data_house import brand_maker

from brandhouse_aftercare import alert_carriers
from brandhouse_aftercare.alerting import Signal, tell
from brandhouse_shared.alerts import Severity
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import EntryKind
from brandhouse_shared.settings import Settings

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ROUTES = """
[alerts]
route = "hook"
critical_route = "team"
group_minutes = 1
runbooks_url = "https://docs.{name}.example/runbooks"
[alerts.checks."quality*"]
route = "mail"
[alerts.routes.hook]
kind = "webhook"
url_env = "BRANDHOUSE_SECRET_{upper}_HOOK"
header = "Authorization"
header_env = "BRANDHOUSE_SECRET_{upper}_TOKEN"
[alerts.routes.team]
kind = "slack"
url_env = "BRANDHOUSE_SECRET_{upper}_TEAM"
[alerts.routes.mail]
kind = "email"
server_env = "BRANDHOUSE_SECRET_{upper}_SERVER"
to_env = "BRANDHOUSE_SECRET_{upper}_TO"
sender = "ml@{name}.example"
"""


class House:
    """Two brands whose routes lead to the same two receivers, under paths and addresses of their own."""

    def __init__(self, folder: Path, hook: HookReceiver, mail: MailReceiver) -> None:
        self.settings = Settings(root=folder, home=folder / "home", ledger_url=SecretStr(f"sqlite:///{folder}/ledger.db"))
        self.ledger = open_ledger(self.settings.ledger_url.get_secret_value())
        self.hook, self.mail = hook, mail
        make = brand_maker(self.settings, folder)
        self.environment: dict[str, str] = {}
        self.brands: dict[str, Brand] = {}
        for name in ("casa", "casa_nova"):  # the names are meant to be confused
            make(name, more=ROUTES.format(name=name, upper=name.upper()))
            self.brands[name] = find_brand(self.settings.brands_dir, name)
            secrets = {"HOOK": f"{hook.url}/{name}/hook", "TEAM": f"{hook.url}/{name}/team", "TOKEN": f"Bearer of-{name}"}
            secrets |= {"SERVER": mail.url, "TO": f"a@{name}.example, b@{name}.example"}
            self.environment |= {f"BRANDHOUSE_SECRET_{name.upper()}_{key}": value for key, value in secrets.items()}

    def tell(self, brand: str, *signals: Signal, now: datetime = NOW) -> Any:
        return tell(self.ledger, self.brands[brand], signals, now=now, environment=self.environment)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(alert_carriers, "PAUSE_SECONDS", 0.0)
    with hook_receiver() as hook, mail_receiver() as mail:
        yield House(tmp_path, hook, mail)


def red(check: str, detail: str, **more: Any) -> Signal:
    return Signal(check, "red", detail, "price", value=0.4, limit=0.2, **more)


def test_web_hook_gets_json_with_id_runbook_and_its_header(house: House) -> None:
    house.tell("casa", red("alerts.try", "size has moved", number=3, link="http://127.0.0.1:4200/runs/1"))
    (post,) = house.hook.posts
    (item,) = post.pop("alerts")
    assert post["title"] == "[casa] price: alerts.try is red"
    assert (post["brand"], post["severity"], post["at"]) == ("casa", "warning", NOW.isoformat())
    assert item["runbook"] == "https://docs.casa.example/runbooks/alerts.html"
    assert (item["model"], item["version"], item["value"], item["limit"]) == ("price", 3, 0.4, 0.2)
    (headers,) = house.hook.headers
    assert (headers["Authorization"], headers["Idempotency-Key"]) == ("Bearer of-casa", post["id"])


def test_slack_gets_blocks_of_plain_text(house: House) -> None:
    house.tell("casa", red("gone", "no <!channel> *answers*", severity=Severity.CRITICAL))
    assert sorted(house.hook.paths) == ["/casa/hook", "/casa/team"]
    post = house.hook.posts[house.hook.paths.index("/casa/team")]
    assert post["text"] == "[casa] CRITICAL: price: gone is red"
    assert {block.get("text", {}).get("type", "plain_text") for block in post["blocks"]} == {"plain_text"}, "nothing can mention anybody"
    assert "docs.casa.example/runbooks/index.html" in json.dumps(post)


def test_mail_goes_to_all_receivers_of_its_route(house: House) -> None:
    house.tell("casa", red("quality", "mae went\nfrom 10 to 14"))
    (letter,) = house.mail.letters
    assert house.mail.receivers == [["a@casa.example", "b@casa.example"]]
    assert (letter["Subject"], letter["From"]) == ("[casa] price: quality is red", "ml@casa.example")
    assert "mae went from 10 to 14" in letter.get_content()
    assert house.hook.posts == []


def test_nothing_of_one_brand_is_in_anothers_alerts(house: House) -> None:
    for brand in house.brands:
        house.tell(brand, red("alerts.try", f"secret of {brand}!"), red("quality", f"mail of {brand}!"))
    assert house.hook.paths == ["/casa/hook", "/casa_nova/hook"]
    for index, brand in enumerate(house.brands):
        other = next(name for name in house.brands if name != brand)
        heard = json.dumps(house.hook.posts[index]) + str(house.hook.headers[index]) + str(house.mail.letters[index])
        assert f"of {brand}!" in heard
        assert f"of {other}!" not in heard
        assert f"@{other}.example" not in heard
        assert f"docs.{other}." not in heard
        assert {entry.brand for entry in house.ledger.entries(EntryKind.ALERT, brand)} == {brand}


def test_brand_cannot_use_a_variable_of_a_brand_with_a_longer_name(house: House) -> None:
    path = house.settings.brands_dir / "casa" / "brand.toml"
    path.write_text(path.read_text().replace("SECRET_CASA_HOOK", "SECRET_CASA_NOVA_HOOK"))
    house.brands["casa"] = find_brand(house.settings.brands_dir, "casa")
    (*_, entry) = house.tell("casa", red("alerts.try", "x"))
    assert entry.state == "failed"
    assert house.hook.posts == []


@pytest.mark.parametrize("answers", [[500, 500], [404], [302]], ids=str)
def test_refused_message_is_in_the_ledger_without_its_address_and_goes_out_with_the_next_run(house: House, answers: list[int]) -> None:
    house.hook.answers = list(answers)
    (*_, failed) = house.tell("casa", red("alerts.try", "x"))
    assert (failed.state, failed.facts["undelivered"]) == ("failed", {"hook": f"the address answered {answers[0]}"})
    assert "127.0.0.1" not in str(failed.facts)
    (sent,) = house.tell("casa", now=NOW + timedelta(minutes=5))
    assert (sent.state, sent.facts["attempts"]) == ("sent", 2)
    assert [post["id"] for post in house.hook.posts] == [failed.facts["message"]]
    assert house.hook.paths == ["/casa/hook"], "no redirect was followed"


def test_passing_fault_is_tried_again_at_once(house: House) -> None:
    house.hook.answers = [503]
    assert [entry.state for entry in house.tell("casa", red("alerts.try", "x"))] == ["sending", "sent"]


def test_only_the_route_that_failed_is_tried_again(house: House) -> None:
    house.environment["BRANDHOUSE_SECRET_CASA_TEAM"] = "http://127.0.0.1:1/closed"
    house.tell("casa", red("gone", "x", severity=Severity.CRITICAL))
    house.environment["BRANDHOUSE_SECRET_CASA_TEAM"] = f"{house.hook.url}/casa/team"
    house.tell("casa", now=NOW + timedelta(minutes=5))
    assert house.hook.paths == ["/casa/hook", "/casa/team"]


def test_mail_server_that_is_busy_or_away_loses_nothing(house: House) -> None:
    house.mail.refuses = True
    (*_, failed) = house.tell("casa", red("quality", "x"))
    assert failed.facts["undelivered"] == {"mail": "the mail server answered 451"}
    house.environment["BRANDHOUSE_SECRET_CASA_SERVER"] = "smtp://127.0.0.1:1"
    (failed,) = house.tell("casa", now=NOW + timedelta(minutes=5))
    assert failed.facts["undelivered"] == {"mail": "the mail server does not answer (ConnectionRefusedError)"}
    house.mail.refuses = False
    house.environment["BRANDHOUSE_SECRET_CASA_SERVER"] = house.mail.url
    (sent,) = house.tell("casa", now=NOW + timedelta(minutes=10))
    assert sent.state == "sent"
    assert len(house.mail.letters) == 1
