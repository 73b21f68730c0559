"""A gateway of several processes: exact counts, and what a kill of each of them leaves."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fixtures.serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, free_port, wait_until

from brandhouse_serving.prediction_records import find_record

pytestmark = pytest.mark.alone

WORKER = "brandhouse_serving.worker"
SILO = "brandhouse_serving.silo"


class WideGateway(Gateway):
    """A gateway of two processes."""

    def __init__(self, house: House, *brands: str) -> None:
        super().__init__(house, "--workers", "2", *brands)

    def processes(self, module: str) -> list[psutil.Process]:
        """The processes below the gateway's that run a module."""
        return [process for process in _family(self.process.pid) if module in _command(process)]

    def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = self.call("GET", "/metrics")[2].decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def _family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _are_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def ask_many(port: int, key: str, count: int) -> int:
    """Send requests on one connection; returns how many were answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answered = 0
    for _ in range(count):
        connection.request("POST", f"/v1/{CASA}/predict", json.dumps({"instances": [CASA_ROW, CASA_ROW]}), headers)
        response = connection.getresponse()
        response.read()
        answered += response.status == 200
    connection.close()
    return answered


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    return house


@pytest.fixture(scope="module")
def gateway(house: House, key: str) -> Iterator[WideGateway]:
    with WideGateway(house) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(house: House) -> str:
    return house.add_key("casa")


def test_two_processes_answer_one_port_and_say_so_once(gateway: WideGateway) -> None:
    assert gateway.line == f"Brandhouse serves 1 model on http://127.0.0.1:{gateway.port} with 2 processes"
    assert len(gateway.processes(WORKER)) == 2
    assert gateway.counted("brandhouse_workers") == 2


def test_counts_are_exact_whoever_answers_and_whoever_is_asked_for_them(gateway: WideGateway, key: str) -> None:
    before = gateway.counted("brandhouse_requests_total", brand="casa")
    with ThreadPoolExecutor(8) as threads:
        answered = sum(threads.map(lambda _: ask_many(gateway.port, key, 40), range(8)))
    assert answered == 320
    scrapes = {gateway.counted("brandhouse_requests_total", brand="casa", version="v1") - before for _ in range(10)}
    assert scrapes == {320}, "ten scrapes, by either process, say the same"
    assert gateway.counted("brandhouse_rows_total", brand="casa") == 2 * gateway.counted("brandhouse_requests_total", brand="casa")
    assert gateway.counted("brandhouse_latency_seconds_count", brand="casa") == before + 320
    assert gateway.counted("brandhouse_in_flight") == 0


def test_connections_are_spread_over_the_processes(gateway: WideGateway) -> None:
    wait_until(lambda: gateway.call("GET", "/readyz")[0] == 200, 60)
    workers = gateway.processes(WORKER)
    clients = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(16)]
    for client in clients:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    ports = {client.getsockname()[1] for client in clients}
    taken = [sum(bool(end.raddr) and end.raddr.port in ports for end in worker.net_connections("tcp")) for worker in workers]
    for client in clients:
        client.close()
    assert sum(taken) == 16
    assert min(taken) >= 4, f"one process has {max(taken)} of 16 connections"


@pytest.mark.slow
def test_a_brands_own_process_is_one_for_all_workers(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.register_stil()
    stil_key = house.add_key("stil")
    with WideGateway(house, "stil") as gateway:
        asked = [gateway.predict(stil_key, STIL, STIL_ROW)[2]["predictions"] for _ in range(6)]
        assert asked == [["yes"]] * 6
        assert len(gateway.processes(SILO)) == 1
        family = _family(gateway.process.pid)
        gateway.stop()
        assert _are_gone(family)


def test_a_killed_worker_takes_no_count_along_and_the_other_one_answers(gateway: WideGateway, key: str) -> None:
    ask_many(gateway.port, key, 25)
    before = gateway.counted("brandhouse_requests_total", brand="casa")
    starts = gateway.counted("brandhouse_worker_starts_total")
    gateway.processes(WORKER)[0].kill()
    assert gateway.predict(key, CASA, CASA_ROW)[0] == 200, "at once, by the other one"
    assert gateway.counted("brandhouse_requests_total", brand="casa") == before + 1
    wait_until(lambda: gateway.counted("brandhouse_worker_starts_total") == starts + 1, 30)
    assert gateway.counted("brandhouse_workers") == 2
    with ThreadPoolExecutor(4) as threads:
        answered = sum(threads.map(lambda _: ask_many(gateway.port, key, 10), range(4)))
    assert gateway.counted("brandhouse_requests_total", brand="casa") == before + 1 + answered == before + 41


def test_sigterm_ends_all_processes_with_every_answer_written_down(house: House, key: str) -> None:
    with WideGateway(house, "casa") as gateway:
        folders = set(Path("/dev/shm").glob(f"brandhouse-gateway-{gateway.process.pid}-*"))
        family = _family(gateway.process.pid)
        identifier = gateway.predict(key, CASA, CASA_ROW)[2]["prediction_ids"][0]
        gateway.stop()
        assert gateway.process.returncode == 0
    assert _are_gone(family), "nobody is left behind"
    assert not any(folder.exists() for folder in folders)
    record = find_record(house.home, identifier)
    assert record is not None and record["prediction"] == 170.0, "the answer was logged"


def test_when_the_parent_is_killed_the_others_end_too(house: House, key: str) -> None:
    with WideGateway(house, "casa") as gateway:
        family = _family(gateway.process.pid)
        workers = gateway.processes(WORKER)
        assert len(workers) == 2
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        wait_until(lambda: _are_gone(family), 15)


def test_a_gateway_that_cannot_start_says_why_and_leaves_nothing(house: House) -> None:
    places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    command = [sys.executable, "-m", "brandhouse_serving.main", "--port", str(free_port()), "--workers", "2", "nobody"]
    done = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "unknown brand 'nobody'" in done.stderr
    assert done.stdout == ""
