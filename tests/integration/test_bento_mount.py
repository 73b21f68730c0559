"""Behind the lane: each model's BentoML service, for its brand's key only, limited and logged like every prediction."""

import asyncio
import json
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, Gateway, House, wait_until

from brandhouse_serving.bento_mount import BentoMount
from brandhouse_serving.parts import build_parts
from brandhouse_shared.names import ModelKey

PICKLE = "application/vnd.bentoml+pickle"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_constant(STIL)
    return house


def ask(gateway: Gateway, key: str | None, model: ModelKey, row: Any = CASA_ROW, **headers: str) -> tuple[int, dict[str, str], Any]:
    return gateway.call("POST", f"/bento/{model}/predict", key, {"instances": [row]}, **headers)


def test_a_gateway_that_nobody_asks_for_bentos_does_not_import_bentoml() -> None:
    script = "import brandhouse_serving.gateway, sys; assert not [name for name in sys.modules if 'bentoml' in name]"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.alone
def test_two_brands_get_their_own_answers_from_bentoml_s_service_logged_and_counted(gateway: Gateway, casa_key: str, stil_key: str) -> None:
    status, headers, casa = ask(gateway, casa_key, CASA)
    assert (status, casa["model"], casa["predictions"]) == (200, "casa/price/v1", [170.0])
    assert headers["server"] == "BentoML Service/casa__price", "it is BentoML's own application that answers"
    status, _, stil = ask(gateway, stil_key, STIL)
    assert (status, stil["model"], stil["predictions"]) == (200, "stil/taste/v1", [321.0])
    direct = gateway.predict(casa_key, CASA, CASA_ROW)[2]
    assert casa.keys() == direct.keys() and casa["predictions"] == direct["predictions"]
    label = {"prediction_id": casa["prediction_ids"][0], "label": 1.0}
    assert gateway.call("POST", f"/v1/{CASA}/feedback", casa_key, label)[0] == 200, "the answer is in the log"
    metrics = gateway.call("GET", "/metrics", casa_key)[2].decode()
    assert 'brandhouse_requests_total{brand="casa",model="price",version="v1"} 2.0' in metrics


@pytest.mark.alone
def test_another_brand_s_service_is_refused_like_one_that_is_not_there(gateway: Gateway, casa_key: str) -> None:
    answers = [ask(gateway, casa_key, model)[::2] for model in (STIL, ModelKey("nobody", "nothing"), ModelKey("stil", "other"))]
    answers += [gateway.call("GET", f"/bento/{STIL}/{call}", casa_key)[::2] for call in ("schema.json", "docs.json", "livez", "secret")]
    assert {status for status, _ in answers} == {403}
    assert len({json.dumps(body) for _, body in answers}) == 1
    assert ask(gateway, None, CASA)[0] == ask(gateway, "bh_x_y", CASA)[0] == 401


@pytest.mark.alone
def test_scopes_hold(gateway: Gateway, house: House) -> None:
    reader, asker = house.add_key("casa", "read"), house.add_key("casa", "predict")
    wait_until(lambda: gateway.call("GET", f"/bento/{CASA}/livez", asker)[0] == 403)
    assert gateway.call("GET", f"/bento/{CASA}/schema.json", reader)[2]["name"] == "casa__price"
    assert ask(gateway, reader, CASA)[0] == 403
    assert gateway.call("GET", f"/bento/{CASA}/schema.json", asker)[0] == 403
    assert ask(gateway, asker, CASA)[0] == 200


@pytest.mark.alone
@pytest.mark.parametrize(
    "path",
    [
        "/bento/casa/../stil/taste/predict",
        "/bento/casa/price/../../stil/taste/predict",
        "/bento/casa%2F..%2Fstil/taste/predict",
        "/bento/casa/price%2F..%2F..%2Fstil%2Ftaste/predict",
        "/bento/casa/price/predict/",
        "/bento/casa/price//predict",
        "/%62ento/casa/price/predict",
        "/bento/casa/price/%70redict",
        "/bento/casa/price/metrics",
        "/bento/casa/price/",
        "/bento/casa/price",
        "/bento",
        "/bento/CASA/price/predict",
        "/bento/casa/price/static_content/../predict",
    ],
)
def test_no_trick_with_the_path_reaches_anything(path: str, gateway: Gateway, casa_key: str) -> None:
    for method in ("POST", "GET", "PUT"):
        status, _, body = gateway.call(method, path, casa_key, {"instances": [CASA_ROW]} if method != "GET" else None)
        assert status in (403, 404, 405, 307), (method, body)
        assert "predictions" not in str(body)


@pytest.mark.alone
def test_only_json_is_read_and_bad_bodies_get_the_gateway_s_answers(gateway: Gateway, casa_key: str) -> None:
    path = f"/bento/{CASA}/predict"
    for kind in (PICKLE, "multipart/form-data; boundary=x", "text/plain"):
        assert gateway.call("POST", path, casa_key, b"{}", Content_Type=kind)[0] == 415
    for body in (
        b"{",
        b"[]",
        b'{"instances": []}',
        b'{"instances": [{"Area m2": 1, "Area m2": 2}]}',
        b'{"instances": [{"Area m2": "1"}]}',
        b"{}",
    ):
        mounted, direct = gateway.call("POST", path, casa_key, body), gateway.call("POST", f"/v1/{CASA}/predict", casa_key, body)
        assert mounted[0] == direct[0] == 422
        assert mounted[2] == direct[2]
    assert gateway.call("POST", path, casa_key, {"instances": [CASA_ROW] * 101})[0] == 413
    assert gateway.call("GET", path, casa_key)[0] == 405
    assert ask(gateway, casa_key, ModelKey("casa", "unborn"))[0] == 503
    assert ask(gateway, casa_key, ModelKey("casa", "unknown"))[0] == 404


@pytest.mark.alone
@pytest.mark.slow
def test_limits_are_the_model_s_own_and_brand_code_answers_in_its_own_process(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.register_casa(2.0)
    house.register_stil()
    house.edit_brand("casa", "max_rows = 100", "max_rows = 100\nrate_per_second = 1")
    casa_key, stil_key = house.add_key("casa"), house.add_key("stil")
    with Gateway(house) as gateway:
        found = [
            ask(gateway, casa_key, CASA)[0],
            gateway.predict(casa_key, CASA, CASA_ROW)[0],
            *(ask(gateway, casa_key, CASA)[0] for _ in range(3)),
        ]
        assert 429 in found and 200 in found, "one limit for both ways"
        status, _, answer = ask(gateway, stil_key, STIL, STIL_ROW)
        assert (status, answer["predictions"]) == (200, ["yes"])
        with Path(f"/proc/{gateway.process.pid}/maps").open() as maps:
            assert "sklearn" not in maps.read(), "the brand's python version does not run in the gateway"
        assert gateway.stop() == "", "services end cleanly"


# -- a few services are kept -----------------------------------------------------------------------------------------


class SlowLane:
    """Answers 200 when it is let."""

    def __init__(self) -> None:
        self.let: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await self.let.setdefault(scope["path"], asyncio.Event()).wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


async def call(mount: BentoMount, key: str, model: ModelKey) -> tuple[int, bytes]:
    sent: list[MutableMapping[str, Any]] = []
    path = f"/bento/{model}/predict"
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }
    scope |= {"asgi": {"version": "3.0"}, "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": json.dumps({"instances": [CASA_ROW]}).encode(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await mount(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_a_service_that_answers_is_not_ended_to_make_room_and_an_idle_one_is(house: House, casa_key: str, stil_key: str) -> None:
    async def scene() -> None:
        parts = build_parts(house.settings, None)
        parts.keys.refresh()
        await parts.router.refresh()
        lane = SlowLane()
        mount = BentoMount(parts, lane, kept=1)
        running = mount._services._running
        first = asyncio.create_task(call(mount, casa_key, CASA))
        while not lane.asked:
            await asyncio.sleep(0.01)
        lane.let[f"/v1/{STIL}/predict"] = asyncio.Event()
        lane.let[f"/v1/{STIL}/predict"].set()
        assert await call(mount, stil_key, STIL) == (200, f"/v1/{STIL}/predict".encode())
        assert list(running) == [CASA], "the one that answers stays, the idle one goes"
        lane.let[f"/v1/{CASA}/predict"].set()
        assert await first == (200, f"/v1/{CASA}/predict".encode())
        await mount.close()
        assert not running
        await parts.close()

    asyncio.run(scene())
