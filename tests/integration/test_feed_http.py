"""A dataset from a URL, asked of a real server: changed or not, moved, slow, cut off, too large, not allowed."""

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from feed_house import feed_brand, pull_sales, rows_of

from brandhouse_shared.errors import BrandConfigError, ContractViolationError, DatasetError, RetryableError
from brandhouse_shared.settings import Settings

TABLE = b"size,price\n1,10\n2,20\n"


class Handler(BaseHTTPRequestHandler):
    """Answers by the path; remembers what it was asked."""

    table = TABLE
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        type(self).asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        getattr(self, f"answer_{self.path.strip('/')}")()

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **{key.replace("_", "-"): text for key, text in headers.items()}}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_table(self) -> None:
        tag = f'"{hash(self.table)}"'
        if self.headers.get("If-None-Match") == tag:
            return self.reply(304, ETag=tag)
        return self.reply(200, self.table, ETag=tag)

    def answer_moved(self) -> None:
        self.reply(302, Location="/table")

    def answer_circle(self) -> None:
        self.reply(302, Location="/circle")

    def answer_inwards(self) -> None:
        self.reply(302, Location="http://127.0.0.2:1/secret")

    def answer_file(self) -> None:
        self.reply(302, Location="file:///etc/hostname")

    def answer_gone(self) -> None:
        self.reply(404, b"no such thing")

    def answer_busy(self) -> None:
        self.reply(503)

    def answer_cut(self) -> None:
        self.reply(200, self.table, Content_Length=str(len(self.table) + 100))

    def answer_slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(40):
            try:
                self.wfile.write(b"1,1\n")
                time.sleep(0.1)
            except OSError:
                return

    def answer_huge(self) -> None:
        self.reply(200, b"1,1\n" * (300 << 10))

    def answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(300):
                self.wfile.write(b"1,1\n" * 4096)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked, Handler.table = [], TABLE
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def settings(tmp_path: Path, server: str) -> Settings:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr(url), actor="tester", source_hosts=server)


def source(server: str, path: str, more: str = "") -> str:
    return f'{{kind = "http", url = "http://{server}/{path}"{more}}}'


def test_a_file_is_taken_and_asked_for_again_only_if_it_changed(settings: Settings, server: str) -> None:
    brand = feed_brand(settings, "boats", source(server, "table"))
    first = pull_sales(settings, brand)
    assert rows_of(first) == [["1", "10"], ["2", "20"]]
    again = pull_sales(settings, brand)
    Handler.table = TABLE + b"3,30\n"
    third = pull_sales(settings, brand)

    assert first.snapshot.changed and not again.snapshot.changed and third.snapshot.changed
    assert third.rows == {"price": 3}
    assert "if-none-match" in Handler.asked[1][1], "the server is told what is here already"


def test_a_redirect_is_followed_and_the_secret_goes_to_its_host_only(
    settings: Settings, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANDHOUSE_SECRET_BOATS_TOKEN", "Bearer s3cr3t")
    more = ', header = "Authorization", header_env = "BRANDHOUSE_SECRET_BOATS_TOKEN"'
    item = pull_sales(settings, feed_brand(settings, "boats", source(server, "moved", more)))

    assert item.rows == {"price": 2}
    assert [headers["authorization"] for _, headers in Handler.asked] == ["Bearer s3cr3t", "Bearer s3cr3t"]
    other = Settings.model_validate({**settings.model_dump(), "source_hosts": f"{server},localhost"})
    host = f"localhost:{server.split(':')[1]}"
    Handler.answer_moved_away = lambda self: self.reply(302, Location=f"http://{host}/table")  # type: ignore[attr-defined]
    pull_sales(other, feed_brand(other, "boats", source(server, "moved_away", more)))
    assert "authorization" not in Handler.asked[-1][1], "another host does not get the header"
    kept = b"".join(path.read_bytes() for path in settings.home.rglob("*") if path.is_file())
    assert b"s3cr3t" not in kept, "no secret is written anywhere"


@pytest.mark.parametrize(
    ("path", "more", "kind", "message"),
    [
        ("gone", "", DatasetError, "answers 404"),
        ("circle", "", DatasetError, "redirects more than 5 times"),
        ("inwards", "", DatasetError, "http://127.0.0.2 is not allowed; allowed: https"),
        ("file", "", DatasetError, "file:// is not allowed"),
        ("busy", "", RetryableError, "answers 503"),
        ("cut", "", RetryableError, "21 of 121 bytes"),
        ("slow", ", timeout_seconds = 0.5", RetryableError, "not whole after 0.5 s"),
        ("huge", ", max_mib = 1", DatasetError, "more than max_mib = 1"),
        ("endless", ", max_mib = 1", DatasetError, "more than max_mib = 1"),
    ],
)
def test_what_is_no_good_answer_leaves_the_snapshot_as_it_was(
    settings: Settings, server: str, path: str, more: str, kind: type[Exception], message: str
) -> None:
    first = pull_sales(settings, feed_brand(settings, "boats", source(server, "table")))
    pointer = (settings.brands_dir / "boats/data/sales.csv.dvc").read_text()

    with pytest.raises(kind, match=message):
        pull_sales(settings, feed_brand(settings, "boats", source(server, path, more)))
    assert (settings.brands_dir / "boats/data/sales.csv.dvc").read_text() == pointer
    assert first.snapshot.path.read_bytes() == TABLE
    assert not list((settings.home / "arrivals").rglob("*.csv")), "nothing half is left behind"


def test_an_address_inside_the_house_needs_the_operators_leave(settings: Settings, server: str) -> None:
    closed = Settings.model_validate({**settings.model_dump(), "source_hosts": ""})
    port = server.split(":")[1]

    with pytest.raises(DatasetError, match=r"http://127\.0\.0\.1 is not allowed; allowed: https"):
        pull_sales(closed, feed_brand(closed, "boats", source(server, "table")))
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "[::1]", "10.0.0.1"):
        with pytest.raises(DatasetError, match="is no public address; the machine's operator may allow it"):
            pull_sales(closed, feed_brand(closed, "boats", f'{{kind = "http", url = "https://{host}:{port}/table"}}'))
    assert Handler.asked == [], "not even asked"


def test_new_data_that_contradict_the_contract_are_not_let_in(settings: Settings, server: str) -> None:
    brand = feed_brand(settings, "boats", source(server, "table"))
    first = pull_sales(settings, brand)
    Handler.table = TABLE + b"huge,30\n"

    with pytest.raises(ContractViolationError, match="1 of 3 rows refused"):
        pull_sales(settings, brand)
    assert first.snapshot.path.read_bytes() == TABLE
    lenient = pull_sales(settings, feed_brand(settings, "boats", source(server, "table"), more="max_bad_share = 0.5"))
    assert (lenient.rows, lenient.quarantined) == ({"price": 2}, {"price": 1}), "the bad row is counted and kept aside"


def test_a_brand_may_name_only_its_own_variables(settings: Settings, server: str) -> None:
    more = ', header = "Authorization", header_env = "BRANDHOUSE_SECRET_BIKES_TOKEN"'
    with pytest.raises(BrandConfigError, match="BRANDHOUSE_SECRET_BIKES_TOKEN is not the brand's own"):
        feed_brand(settings, "boats", source(server, "table", more))


def test_a_variable_of_a_longer_brand_name_is_not_read(settings: Settings, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDHOUSE_SECRET_BOATS_AWS_TOKEN", "of the brand boats_aws")
    more = ', header = "Authorization", header_env = "BRANDHOUSE_SECRET_BOATS_AWS_TOKEN"'
    brand = feed_brand(settings, "boats", source(server, "table", more))
    feed_brand(settings, "boats_aws", source(server, "table"))

    with pytest.raises(DatasetError, match="is not set, or not the brand's"):
        pull_sales(settings, brand)
    assert Handler.asked == []
