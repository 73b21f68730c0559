"""A run gets its brand's keys from the brand's role, and what its entry of secrets holds; a denial is told without a secret."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from brandhouse_flows.brand_roles import BrandRoleError, borrow_secrets
from brandhouse_shared.errors import RetryableError
from brandhouse_shared.settings import Settings

ROLE = "arn:aws:iam::123456789012:role/brandhouse/production/{slug}/brandhouse-production-{slug}-worker"
LENT = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIA{slug}</AccessKeyId><SecretAccessKey>lent</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2036-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
<Message>secret words</Message></Error></ErrorResponse>"""


class Amazon:
    """Stands in for STS and Secrets Manager; keeps who asked for what."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.roles: list[str] = []
        self.askers: list[str] = []
        self.fault = ""
        amazon = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                status, answer = amazon.answer(body, self.headers)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, body: str, headers: object) -> tuple[int, str]:
        if self.fault:
            return (403 if self.fault == "AccessDenied" else 503), DENIED.format(code=self.fault)
        if "AssumeRole" in body:
            asked = parse_qs(body)
            self.roles.append(asked["RoleArn"][0])
            return 200, LENT.replace("{slug}", asked["RoleSessionName"][0])
        self.askers.append(headers["authorization"].partition("Credential=")[2].partition("/")[0])  # type: ignore[index]
        value = self.entries.get(json.loads(body)["SecretId"])
        if value is None:
            return 400, json.dumps({"__type": "ResourceNotFoundException", "message": "none"})
        return 200, json.dumps({"SecretString": value})


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    amazon = Amazon()
    variables = {"STS": "ENDPOINT_URL_STS", "SM": "ENDPOINT_URL_SECRETS_MANAGER"}
    for name in variables.values():
        monkeypatch.setenv(f"AWS_{name}", amazon.url)
    for name, value in {"ACCESS_KEY_ID": "AKIAWORKER", "SECRET_ACCESS_KEY": "x", "REGION": "eu-central-1", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    thread = threading.Thread(target=amazon.server.serve_forever, daemon=True)
    thread.start()
    yield amazon
    amazon.server.shutdown()
    amazon.server.server_close()


def settings(role: str = ROLE, entry: str = "brandhouse/production/{slug}/settings") -> Settings:
    return Settings(root=Path("/x"), home=Path("/x"), ledger_url=SecretStr("sqlite://"), brand_role=role, brand_secrets=entry)


def test_a_run_gets_its_brands_keys_and_its_own_variables_of_the_entry(amazon: Amazon) -> None:
    held = {
        "BRANDHOUSE_SECRET_LEEN_WIJS_SQL_URL": "mine",
        "BRANDHOUSE_SECRET_LEEN_WIJS_NU_SQL_URL": "another brand's",
        "BRANDHOUSE_LEDGER_URL": "the platform's",
    }
    amazon.entries["brandhouse/production/leen-wijs/settings"] = json.dumps(held)
    found = borrow_secrets("leen_wijs", ["leen_wijs", "leen_wijs_nu"], settings())
    assert found == {
        "BRANDHOUSE_SECRET_LEEN_WIJS_AWS_ACCESS_KEY_ID": "ASIAleen-wijs",
        "BRANDHOUSE_SECRET_LEEN_WIJS_AWS_SECRET_ACCESS_KEY": "lent",
        "BRANDHOUSE_SECRET_LEEN_WIJS_AWS_SESSION_TOKEN": "token",
        "BRANDHOUSE_SECRET_LEEN_WIJS_AWS_REGION": "eu-central-1",
        "BRANDHOUSE_SECRET_LEEN_WIJS_SQL_URL": "mine",
    }
    assert amazon.roles == [ROLE.replace("{slug}", "leen-wijs")]
    assert amazon.askers == ["ASIAleen-wijs"], "the entry was not read as the brand"


def test_a_silo_brands_worker_is_the_role_already(amazon: Amazon) -> None:
    found = borrow_secrets("casa", ["casa"], settings("own"))
    assert found["BRANDHOUSE_SECRET_CASA_AWS_ACCESS_KEY_ID"] == "AKIAWORKER"
    assert not amazon.roles


def test_without_a_role_nobody_is_asked(amazon: Amazon) -> None:
    assert borrow_secrets("casa", ["casa"], settings(role="")) == {}
    assert not amazon.roles and not amazon.askers


def test_a_denial_and_an_entry_of_another_shape_are_told_without_what_they_hold(amazon: Amazon) -> None:
    amazon.entries["brandhouse/production/casa/settings"] = '{"KEY": ["secret words"]}'
    with pytest.raises(BrandRoleError, match="no JSON object whose values are texts") as refused:
        borrow_secrets("casa", ["casa"], settings())
    amazon.fault = "AccessDenied"
    with pytest.raises(BrandRoleError, match="AccessDenied") as denied:
        borrow_secrets("casa", ["casa"], settings())
    assert "secret words" not in f"{refused.value} {denied.value}"


def test_amazon_being_busy_or_away_is_worth_another_try(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    amazon.fault = "Throttling"
    with pytest.raises(RetryableError):
        borrow_secrets("casa", ["casa"], settings())
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    with pytest.raises(RetryableError):
        borrow_secrets("casa", ["casa"], settings())
