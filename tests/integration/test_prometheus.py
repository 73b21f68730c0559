"""A real Prometheus reads a real gateway: generated rules are valid, fire for the brand that is meant, and for no other."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, free_port, wait_until

from brandhouse_aftercare.prometheus_rules import RuleTimes, brand_groups, house_groups
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.ledger.records import Entry, EntryKind

TOOLS = Path(__file__).parents[2] / ".tools" / "prometheus" / "usr" / "bin"
QUICK = RuleTimes(window="8s", hold="0s", down="2s")
CONFIG = """
global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}
rule_files: ["{folder}/*.rules.yml"]
scrape_configs:
  - job_name: brandhouse
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""


def tool(name: str) -> str:
    assert (TOOLS / name).is_file(), (
        f"{name} is not there; install it with `make tools-prometheus` (Debian's package, unpacked into .tools)"
    )
    return str(TOOLS / name)


def write_rules(house: House, folder: Path, times: RuleTimes) -> list[Path]:
    folder.mkdir()
    documents = {brand.name: brand_groups(brand, times) for brand in discover_brands(house.settings.brands_dir)[0]}
    for name, document in {**documents, "house": house_groups(times=times)}.items():
        (folder / f"{name}.rules.yml").write_text(yaml.safe_dump(document))
    return sorted(folder.iterdir())


class Prometheus:
    """A Prometheus on a port of its own, with a gateway as its only target."""

    def __init__(self, folder: Path, gateway_port: int) -> None:
        self.port = free_port()
        (folder / "prometheus.yml").write_text(CONFIG.format(folder=folder / "rules", port=gateway_port))
        places = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        with (folder / "prometheus.log").open("w") as log:
            command = [tool("prometheus"), *places, f"--web.listen-address=127.0.0.1:{self.port}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, path: str, **parameters: str) -> Any:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=5)
        except httpx.HTTPError:
            return None
        return answer.json()["data"] if answer.is_success else None

    def firing(self) -> set[tuple[str, str | None, str | None]]:
        """Alerts that fire: name, brand, model."""
        alerts = (self.ask("alerts") or {"alerts": []})["alerts"]
        labels = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
        return {(label["alertname"], label.get("brand"), label.get("model")) for label in labels}

    def scrapes(self) -> int:
        """Times that the gateway was read since the start."""
        found = self.ask("query", query='count_over_time(up{job="brandhouse"}[1h])') or {"result": []}
        return int(found["result"][0]["value"][1]) if found["result"] else 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def prometheus(tmp_path: Path, house: House, gateway: Gateway) -> Iterator[Prometheus]:
    write_rules(house, tmp_path / "rules", QUICK)
    server = Prometheus(tmp_path, gateway.port)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.slow
def test_promtool_finds_no_fault_in_generated_rules(house: House, tmp_path: Path) -> None:
    files = write_rules(house, tmp_path / "rules", RuleTimes())
    checked = subprocess.run([tool("promtool"), "check", "rules", *map(str, files)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("SUCCESS") == 3


@pytest.mark.slow
@pytest.mark.alone
def test_rules_fire_for_the_brand_that_is_meant(
    prometheus: Prometheus, house: House, gateway: Gateway, casa_key: str, stil_key: str
) -> None:
    wait_until(lambda: prometheus.scrapes() > 20, 60)
    gateway.predict(casa_key, CASA, CASA_ROW)
    assert prometheus.firing() == set()

    _, headers, _ = gateway.predict(stil_key, STIL, STIL_ROW | {"visits": 666})  # brand code that raises
    assert "x-brandhouse-fallback" in headers
    wait_until(lambda: ("BrandhouseFallbacks", "stil", "taste") in prometheus.firing(), 30)

    red = Entry(kind=EntryKind.CHECK, brand="casa", model="price", name="drift", state="red", detail="x", actor="t", at=datetime.now(UTC))
    house.ledger.record_entry(red)
    wait_until(lambda: ("BrandhouseCheckRed", "casa", "price") in prometheus.firing(), 30)
    assert {(name, brand) for name, brand, _ in prometheus.firing()} <= {("BrandhouseFallbacks", "stil"), ("BrandhouseCheckRed", "casa")}

    house.ledger.record_entry(red.model_copy(update={"state": "green", "at": datetime.now(UTC)}))
    wait_until(lambda: prometheus.firing() == set(), 60)
    gateway.stop()
    wait_until(lambda: ("BrandhouseGatewayDown", None, None) in prometheus.firing(), 30)
    time.sleep(1)
    assert {name for name, *_ in prometheus.firing()} == {"BrandhouseGatewayDown"}
