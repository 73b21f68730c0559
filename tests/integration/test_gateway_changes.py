"""What the gateway does when something changes or breaks: promotions, rollbacks, altered files, killed processes."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_CODE, STIL_ROW, Gateway, House, wait_until

from brandhouse_serving import prediction_log
from brandhouse_serving.conversion import convert_all
from brandhouse_serving.gateway import create_app
from brandhouse_serving.journal import find_segments, read_entries
from brandhouse_serving.prediction_records import find_record

pytestmark = pytest.mark.alone


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def logged_ids(house: House) -> set[str]:
    """All that is in journals or, looked at after them, in Parquet."""
    entries = [entry for brand in ("casa", "stil") for file in find_segments(house.home, brand) for entry in read_entries(file)]
    parts = [pq.read_table(file, columns=["id"]) for file in house.home.glob("predictions/*/*/*/*.parquet")]
    return {*(found for entry in entries for found in entry.ids), *(found for part in parts for found in part["id"].to_pylist())}


class Load:
    """Requests without a pause from several threads, until it is left."""

    def __init__(self, gateway: Gateway, key: str, threads: int = 4) -> None:
        self.answers: list[tuple[int, Any, float]] = []
        self._stop = threading.Event()
        self._gateway, self._key = gateway, key
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status, _, body = self._gateway.predict(self._key, CASA, CASA_ROW)
            except (OSError, http.client.HTTPException) as error:  # a killed gateway may end in the middle of an answer
                status, body = 0, repr(error)
                time.sleep(0.02)  # what is stopping needs the processor more than another refused connection
            self.answers.append((status, body, time.monotonic()))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_promotion_and_rollback_are_followed_within_a_second_without_a_failed_request(house: House) -> None:
    house.register_casa(2.0)
    key = house.add_key("casa")
    second = house.register_casa(3.0, promote=False)
    with Gateway(house) as gateway, Load(gateway, key) as load:
        wait_until(lambda: len(load.answers) > 50)
        promoted = time.monotonic()
        house.promote(second)
        wait_until(lambda: load.answers[-1][1].get("model") == "casa/price/v2")
        assert load.answers[-1][2] - promoted < 1
        rolled_back = time.monotonic()
        house.ledger.rollback(CASA, "tester", "test")
        wait_until(lambda: load.answers[-1][1].get("model") == "casa/price/v1")
        assert load.answers[-1][2] - rolled_back < 1
    assert {status for status, _, _ in load.answers} == {200}
    assert {(body["model"], body["predictions"][0]) for _, body, _ in load.answers} == {("casa/price/v1", 170.0), ("casa/price/v2", 250.0)}


def test_a_version_whose_file_was_altered_is_answered_by_the_one_before_and_recorded(house: House) -> None:
    house.register_casa(2.0)
    house.alter_artifact(house.register_casa(3.0))
    key = house.add_key("casa")
    with Gateway(house) as gateway:
        status, headers, body = gateway.predict(key, CASA, CASA_ROW)
        assert (status, body["model"], body["predictions"]) == (200, "casa/price/v1", [170.0])
        assert headers["x-brandhouse-fallback"] == "previous; artifact missing or altered"
        third = house.register_casa(4.0, promote=False)
        house.alter_artifact(third)
        house.promote(third)
        time.sleep(1)
        status, headers, body = gateway.predict(key, CASA, CASA_ROW)
        assert (status, body["model"]) == (200, "casa/price/v1"), "neither of the two altered ones"
        wait_until(lambda: len(house.ledger.fallbacks(CASA)) >= 2)
    recorded = {(one.number, one.reason) for one in house.ledger.fallbacks(CASA)}
    assert recorded == {(number, "artifact missing or altered") for number in (2, 3)}


def test_without_any_other_version_the_baseline_answers_and_without_that_503(house: House) -> None:
    house.register_constant()
    house.alter_artifact(house.register_casa(2.0))
    key = house.add_key("casa")
    with Gateway(house) as gateway:
        status, headers, body = gateway.predict(key, CASA, CASA_ROW)
        assert (status, body["model"], body["predictions"]) == (200, "casa/price/v1", [321.0])
        assert headers["x-brandhouse-fallback"].startswith("previous; ")
        house.alter_artifact(CASA.version(1))
    with Gateway(house) as gateway:
        status, headers, body = gateway.predict(key, CASA, CASA_ROW)
        assert (status, body["error"]["code"]) == (503, "unavailable") and headers["retry-after"] == "5"
        assert gateway.call("GET", "/v1/casa/models", key)[0] == 200, "the rest goes on"


def test_a_retired_model_is_gone_within_a_second(house: House) -> None:
    house.register_casa(2.0)
    key = house.add_key("casa")
    with Gateway(house) as gateway:
        assert gateway.predict(key, CASA, CASA_ROW)[0] == 200
        house.ledger.retire(CASA, "tester", "test")
        assert wait_until(lambda: gateway.predict(key, CASA, CASA_ROW)[0] == 503) < 1


def test_a_compiled_version_of_a_silo_brand_answers_from_the_brands_own_process(house: House) -> None:
    house.edit_brand("casa", 'risk = "low"', 'risk = "low"\nisolation = "silo"')
    house.register_casa(2.0)
    key = house.add_key("casa")
    with Gateway(house, "casa") as gateway:
        assert gateway.predict(key, CASA, CASA_ROW)[2]["predictions"] == [170.0]
        assert gateway.predict(key, CASA, {"Area m2": 80})[2]["predictions"] == [170.0], "null travels"
        assert len(silos_of(gateway)) == 1
        (silo,) = silos_of(gateway)
        socket = next(Path(part) for part in silo.cmdline() if part.endswith("/s"))
        assert socket.stat().st_mode & 0o777 == 0o600 and socket.parent.stat().st_mode & 0o777 == 0o700
        assert not any(name.startswith("BRANDHOUSE_") for name in silo.environ()), "no ledger URL, no token"
    assert not socket.parent.exists()


def silos_of(gateway: Gateway) -> list[psutil.Process]:
    return [child for child in psutil.Process(gateway.process.pid).children() if "brandhouse_serving.silo" in child.cmdline()]


@pytest.fixture(scope="module")
def stil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Gateway, str]]:
    with house_of_both(tmp_path_factory.mktemp("stil")) as served:
        yield served


@contextlib.contextmanager
def house_of_both(folder: Path) -> Iterator[tuple[House, Gateway, str]]:
    house = House(folder)
    house.register_casa(2.0)
    house.register_stil()
    key = house.add_key("stil")
    with Gateway(house) as gateway:
        assert "x-brandhouse-fallback" not in gateway.predict(key, STIL, STIL_ROW)[1]
        yield house, gateway, key


def test_a_killed_silo_comes_back_and_the_baseline_answers_meanwhile(stil: tuple[House, Gateway, str]) -> None:
    _, gateway, key = stil
    (before,) = silos_of(gateway)
    os.kill(before.pid, signal.SIGKILL)
    status, headers, body = gateway.predict(key, STIL, STIL_ROW)
    assert (status, body["predictions"], body["probabilities"]) == (200, ["no"], [{"no": 0.75, "yes": 0.25}])
    assert headers["x-brandhouse-fallback"] in ("baseline; its process ended", "baseline; its process is not running")
    wait_until(lambda: "x-brandhouse-fallback" not in gateway.predict(key, STIL, STIL_ROW)[1], 30)
    (after,) = silos_of(gateway)
    assert after.pid != before.pid


def test_brand_code_that_raises_is_answered_by_the_baseline_and_hurts_no_other_brand(stil: tuple[House, Gateway, str]) -> None:
    house, gateway, key = stil
    status, headers, body = gateway.predict(key, STIL, {**STIL_ROW, "visits": 666})
    assert (status, headers["x-brandhouse-fallback"], body["predictions"]) == (200, "baseline; runtime failed", ["no"])
    assert "x-brandhouse-fallback" not in gateway.predict(key, STIL, STIL_ROW)[1]
    casa = house.add_key("casa")
    wait_until(lambda: gateway.predict(casa, CASA, CASA_ROW)[0] == 200)


def test_brand_code_that_eats_memory_or_time_is_stopped_by_its_limits(house: House) -> None:
    greedy = STIL_CODE.replace("raise ValueError", "list(bytearray(1 << 20) for _ in range(8192)); raise ValueError")
    slow = greedy.replace("import pandas as pd", "import time\n\nimport pandas as pd")
    slow = slow.replace("    return pd", '    time.sleep(3 * (rows["visits"] == 3).any())\n    return pd')
    house.edit_brand("stil", 'metric = "roc_auc"', 'metric = "roc_auc"\nserving = { timeout_seconds = 1.5 }')
    house.register_stil(slow)
    key = house.add_key("stil")
    with Gateway(house) as gateway:
        assert "x-brandhouse-fallback" not in gateway.predict(key, STIL, STIL_ROW)[1]
        started = time.monotonic()
        status, headers, _ = gateway.predict(key, STIL, {"visits": 3})
        assert (status, headers["x-brandhouse-fallback"]) == (200, "baseline; timeout") and time.monotonic() - started < 2.5
        time.sleep(2)
        (silo,) = silos_of(gateway)
        status, headers, _ = gateway.predict(key, STIL, {"visits": 666})
        assert status == 200 and headers["x-brandhouse-fallback"].startswith("baseline; ")
        assert not silo.is_running() or silo.memory_info().rss < 2200 << 20


def test_silos_end_with_a_gateway_that_is_killed_hard(tmp_path: Path) -> None:
    with house_of_both(tmp_path) as (_, gateway, _):
        (silo,) = silos_of(gateway)
        gateway.stop(signal.SIGKILL)
        wait_until(lambda: not silo.is_running() or silo.status() == psutil.STATUS_ZOMBIE, 3)


def test_sigterm_half_answers_nothing_and_loses_no_logged_prediction(house: House) -> None:
    house.register_casa(2.0)
    key = house.add_key("casa")
    with Gateway(house) as gateway, Load(gateway, key) as load:
        wait_until(lambda: len(load.answers) > 100)
        errors = gateway.stop()
        assert gateway.process.returncode == 0, f"it did not end by itself, but by its own alarm: {errors}"
    ids = {body["prediction_ids"][0] for status, body, _ in load.answers if status == 200}
    assert {status for status, _, _ in load.answers} <= {200, 0}, "answered whole, or never accepted"
    assert len(ids) > 100 and ids <= logged_ids(house)


def test_a_stop_writes_what_would_have_been_written_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "FLUSH_SECONDS", 60.0)
    house.register_casa(2.0)
    headers = {"Authorization": f"Bearer {house.add_key('casa')}"}

    async def scene() -> set[str]:
        app = create_app(house.settings)
        orders: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        done: asyncio.Queue[Any] = asyncio.Queue()
        life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, orders.get, done.put))
        await orders.put({"type": "lifespan.startup"})
        assert (await done.get())["type"] == "lifespan.startup.complete"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers) as client:
            answers = [await client.post(f"/v1/{CASA}/predict", json={"instances": [CASA_ROW]}) for _ in range(3)]
        assert not logged_ids(house)
        await orders.put({"type": "lifespan.shutdown"})
        await life
        return {answer.json()["prediction_ids"][0] for answer in answers}

    assert asyncio.run(scene()) == logged_ids(house)


def test_a_hard_kill_loses_at_most_the_last_moment_and_leaves_readable_files(house: House) -> None:
    house.register_casa(2.0)
    key = house.add_key("casa")
    with Gateway(house) as gateway, Load(gateway, key) as load:
        wait_until(lambda: len(load.answers) > 200)
        killed = time.monotonic()
        gateway.stop(signal.SIGKILL)
    answered = [(body["prediction_ids"][0], at) for status, body, at in load.answers if status == 200]
    lost = [killed - at for identifier, at in answered if identifier not in logged_ids(house)]
    assert max(lost, default=0) < 0.25, f"{len(lost)} of {len(answered)} lost"


def test_an_answer_is_found_again_by_its_id_and_keeps_only_what_the_brand_may_keep(house: House) -> None:
    house.edit_brand("casa", "budget_eur_month = 20", "budget_eur_month = 20\ncapabilities = { may_store_predictions = false }")
    house.register_casa(2.0)
    house.register_stil()
    casa, stil = house.add_key("casa"), house.add_key("stil")
    with Gateway(house) as gateway:
        (bare,) = gateway.predict(casa, CASA, CASA_ROW)[2]["prediction_ids"]
        (full,) = gateway.predict(stil, STIL, STIL_ROW)[2]["prediction_ids"]
        children = psutil.Process(gateway.process.pid).children()
        assert sum("brandhouse_serving.keeper" in child.cmdline() for child in children) == 1
    record = find_record(house.home, full)
    assert record is not None and record["inputs"]["visits"] == 7 and record["prediction"] == "yes"
    assert record["inputs"]["town"].startswith("hmac:") and record["withheld"] == ["town", "health"]
    provenance = find_record(house.home, bare)
    assert provenance is not None and (provenance["model"], provenance["version"]) == ("price", 1)
    assert not {"inputs", "prediction", "probabilities"} & provenance.keys()
    written = b"".join(file.read_bytes() for file in house.home.rglob("*") if file.is_file() and "predictions" in file.parts)
    assert b"Delft" not in written and b"asthma" not in written
    convert_all(house.home)  # what the keeper had no time for
    kept = [pd.read_parquet(house.home / "predictions" / key.brand / key.model) for key in (CASA, STIL)]
    assert [frame["id"].tolist() for frame in kept] == [[bare], [full]]
    assert kept[0]["inputs"].isna().all() and json.loads(kept[1]["inputs"][0])["visits"] == 7
