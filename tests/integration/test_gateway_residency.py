"""A gateway with little memory and many models, brands' own processes asked by many at once, and limits: nobody loses an answer."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import (
    CASA,
    CASA_INPUTS,
    CASA_ROW,
    CASA_TOML,
    STIL,
    STIL_CODE,
    STIL_INPUTS,
    House,
    linear_graph,
    version_document,
)

from brandhouse_serving.gateway import create_app
from brandhouse_serving.residency import compiled_bytes
from brandhouse_shared.artifacts import MANIFEST_FILE, ONNX_FILE, SAMPLE_FILE, SKOPS_FILE, GraphInput, Manifest, Runtime
from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

pytestmark = pytest.mark.alone

MODELS = 40
TREE_CODE = STIL_CODE.replace(
    '"BRANDHOUSE_LEDGER_URL" not in os.environ', 'not [name for name in os.environ if name.startswith("BRANDHOUSE")]'
)


class Client:
    """Asks the gateway's application in this process, as uvicorn would."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def predict(self, key: ModelKey, secret: str, *rows: Any, body: bytes | None = None) -> SimpleNamespace:
        sent = json.dumps({"instances": rows}).encode() if body is None else body
        headers = {
            "host": "test",
            "authorization": f"Bearer {secret}",
            "content-type": "application/json",
            "content-length": str(len(sent)),
        }
        path = f"/v1/{key}/predict"
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return SimpleNamespace(status=messages[0]["status"], headers=found, body=json.loads(messages[1]["body"]))


def serve(house: House, scene: Callable[[Client, Any], Awaitable[None]]) -> None:
    """Play a scene with the gateway's application, started and ended as uvicorn does."""

    async def act() -> None:
        app = create_app(house.settings)
        parts = app._parts
        to_app: asyncio.Queue[Any] = asyncio.Queue()
        from_app: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
        await to_app.put({"type": "lifespan.startup"})
        assert (await from_app.get())["type"] == "lifespan.startup.complete"
        try:
            await scene(Client(app), parts)
        finally:
            await to_app.put({"type": "lifespan.shutdown"})
            await asyncio.wait_for(lifespan, 20)

    asyncio.run(act())


def register(house: House, manifest: Manifest, files: dict[str, bytes]) -> None:
    folder = house.root / f"draft-{manifest.brand}-{manifest.model}-{len(list(house.root.iterdir()))}"
    folder.mkdir()
    for name, content in {**files, MANIFEST_FILE: manifest.model_dump_json().encode()}.items():
        (folder / name).write_bytes(content)
    digest = house.store.save(manifest.key, folder, {})
    version = house.ledger.register_version_document(version_document(manifest, digest, "candidate"))
    house.ledger.change_stage(StageChange(version=version, to=Stage.PRODUCTION, actor="tester", reason="test"))


def make_compiled(key: ModelKey) -> Manifest:
    return Manifest(
        brand=key.brand,
        model=key.model,
        task=Task.REGRESSION,
        target="price",
        runtime=Runtime.COMPILED,
        reason="test",
        inputs=CASA_INPUTS,
        graph_inputs=(GraphInput(field="Area m2", transform="number"), GraphInput(field="garden", transform="number")),
        constant=(-1.0,),
        entrypoint=f"brand_{key.brand}.price",
        code_digest="0" * 64,
    )


def declare_many(house: House, brands: list[str]) -> list[ModelKey]:
    """Brands with `MODELS` models in all; the n-th answers n times the area."""
    model = CASA_TOML[CASA_TOML.index("[models.price]") : CASA_TOML.index("[models.unborn]")]
    keys = [ModelKey(brands[number % len(brands)], f"m{number:02d}") for number in range(MODELS)]
    for brand in brands:
        parts = [CASA_TOML[: CASA_TOML.index("[models.price]")]]
        parts += [model.replace("models.price", f"models.{key.model}") for key in keys if key.brand == brand]
        (house.root / "brands" / brand).mkdir(parents=True, exist_ok=True)
        (house.root / "brands" / brand / "brand.toml").write_text("".join(parts).replace("casa", brand))
    for number, key in enumerate(keys):
        register(house, make_compiled(key), {ONNX_FILE: linear_graph(float(number), 0.0)})
    return keys


def test_forty_models_in_the_memory_of_six_answer_all_of_many_requests_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    keys = declare_many(house, ["noord", "zuid"])
    budget_mib = 3
    house.settings = house.settings.model_copy(update={"model_memory_mib": budget_mib})
    secrets = {brand: house.add_key(brand) for brand in ("noord", "zuid")}
    room = (budget_mib << 20) // compiled_bytes(len(linear_graph(1.0, 0.0)))
    assert 5 <= room <= 7

    async def scene(client: Client, parts: Any) -> None:
        async def ask(number: int, area: int) -> None:
            answer = await client.predict(keys[number], secrets[keys[number].brand], {"Area m2": area, "garden": None})
            assert (answer.status, answer.body["predictions"]) == (200, [float(number * area)]), answer
            assert answer.body["model"] == f"{keys[number]}/v1" and "x-brandhouse-fallback" not in answer.headers

        random = np.random.default_rng(0)
        numbers = [int(number) for number in random.integers(0, MODELS, 400)]
        for start in range(0, 400, 50):
            await asyncio.gather(*(ask(number, 2 + place) for place, number in enumerate(numbers[start : start + 50])))
            assert parts.residency.state.loaded <= room and parts.residency.state.loaded_bytes <= budget_mib << 20
        state = parts.residency.state
        assert state.loads > MODELS and state.loads - state.unloads == state.loaded, "loaded again and again, and each counted"
        before = state.loads
        await asyncio.gather(*(ask(numbers[-1], 7) for _ in range(30)))
        assert parts.residency.state.loads - before <= 1, "many at once load it once"

    serve(house, scene)


def make_stil(estimator: Any, code: str = TREE_CODE) -> tuple[Manifest, dict[str, bytes], list[dict[str, Any]]]:
    """A python version of `stil` with a sample of its own, and rows to ask."""
    import io

    import skops.io

    random = np.random.default_rng(1)
    features = pd.DataFrame({"visits": random.integers(0, 50, 300), "old": random.integers(0, 2, 300)}).astype(np.float32)
    fitted = estimator.fit(features, np.where(features["visits"] * 0.7 + random.normal(0, 9, 300) > 15, "yes", "no"))
    file = io.BytesIO()
    skops.io.dump(fitted, file)
    rows = [{"visits": int(random.integers(0, 50)), "since": f"20{random.integers(10, 26)}-05-01"} for _ in range(64)]
    manifest = Manifest(
        brand="stil",
        model="taste",
        task=Task.BINARY,
        target="opens",
        runtime=Runtime.PYTHON,
        reason="test",
        inputs=STIL_INPUTS,
        classes=("no", "yes"),
        positive="yes",
        constant=(0.75, 0.25),
        entrypoint="brand_stil.taste",
        code_digest="1" * 64,
        code_files={"__init__.py": "", "taste.py": code},
    )
    sample = json.dumps([{"instance": row} for row in rows[:20]]).encode()
    return manifest, {SKOPS_FILE: file.getvalue(), SAMPLE_FILE: sample}, rows


async def calls_of(parts: Any) -> list[int]:
    """Rows of each call that reaches the brand's process from now on."""
    rows: list[int] = []
    post = parts.silos._post

    async def noting(silo: Any, path: str, body: bytes) -> Any:
        if path == "/predict":
            rows.append(len(json.loads(body)["columns"]["visits"]))
        return await post(silo, path, body)

    parts.silos._post = noting
    return rows


def test_requests_to_a_forest_are_answered_together_exactly_as_alone_and_one_that_fails_fails_alone(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    house = House(tmp_path)
    manifest, files, rows = make_stil(RandomForestClassifier(20, random_state=0))
    register(house, manifest, files)
    secret = house.add_key("stil")

    async def scene(client: Client, parts: Any) -> None:
        alone = [await client.predict(STIL, secret, row) for row in rows]
        assert {answer.status for answer in alone} == {200} and not any("x-brandhouse-fallback" in one.headers for one in alone), alone[0]
        calls = await calls_of(parts)
        together = await asyncio.gather(*(client.predict(STIL, secret, row) for row in rows))
        assert [one.body["probabilities"] for one in together] == [one.body["probabilities"] for one in alone], "to the last bit"
        assert sum(calls) == 64 and len(calls) <= 4, calls
        spoilt = [{"visits": 666} if number == 10 else row for number, row in enumerate(rows)]
        answers = await asyncio.gather(*(client.predict(STIL, secret, row) for row in spoilt))
        assert answers[10].headers["x-brandhouse-fallback"] == "baseline; runtime failed"
        others = [(one, expected) for number, (one, expected) in enumerate(zip(answers, alone, strict=True)) if number != 10]
        assert all(one.body["probabilities"] == expected.body["probabilities"] for one, expected in others)
        assert not any("x-brandhouse-fallback" in one.headers for one, _ in others)

    serve(house, scene)


def test_isolation_and_memory_of_a_brand_follow_its_file_without_a_restart_or_a_lost_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from brandhouse_serving import router

    monkeypatch.setattr(router, "REREAD_SECONDS", 0.2)
    house = House(tmp_path)
    house.register_casa(2.0)
    secret = house.add_key("casa")

    async def scene(client: Client, parts: Any) -> None:
        answers: list[Any] = []

        async def ask() -> None:
            while True:
                answers.append(await client.predict(CASA, secret, CASA_ROW))
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(ask())

        def process() -> int | None:
            found: int | None = parts.silos.process_ids().get("casa")
            return found

        async def wait_for(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.05)

        def isolation() -> str:
            return str(parts.router.table[CASA].production.loaded.placement[0])

        await asyncio.sleep(0.1)
        assert process() is None
        house.edit_brand("casa", 'risk = "low"', 'risk = "low"\nisolation = "silo"')
        await wait_for(lambda: isolation() == "silo")
        first = process()
        assert first is not None
        guarded = psutil.Process(first)
        assert guarded.rlimit(psutil.RLIMIT_CORE) == (0, 0) and guarded.rlimit(psutil.RLIMIT_NOFILE)[0] <= 1024
        socket = parts.silos._find("casa").place.socket
        assert socket.stat().st_mode & 0o777 == 0o600 and socket.parent.stat().st_mode & 0o777 == 0o700
        status = Path(f"/proc/{first}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "Umask:\t0077" in status
        assert guarded.rlimit(psutil.RLIMIT_DATA)[0] == 2048 << 20
        house.edit_brand("casa", 'isolation = "silo"', 'isolation = "silo"\nsilo_memory_mib = 1024')
        await wait_for(lambda: process() not in (None, first))
        await wait_for(lambda: not psutil.pid_exists(first))
        second = process()
        assert second is not None and psutil.Process(second).rlimit(psutil.RLIMIT_DATA)[0] == 1024 << 20
        house.edit_brand("casa", 'isolation = "silo"\nsilo_memory_mib = 1024', 'isolation = "pool"')
        await wait_for(lambda: isolation() == "pool")
        await asyncio.sleep(0.1)
        asking.cancel()
        assert Counter(answer.status for answer in answers) == {200: len(answers)} and len(answers) > 50
        assert {tuple(answer.body["predictions"]) for answer in answers} == {(170.0,)}
        assert not [answer.headers for answer in answers if "x-brandhouse-fallback" in answer.headers]

    serve(house, scene)


def test_requests_beyond_a_models_concurrency_and_bodies_beyond_its_brands_size_are_refused_and_no_other_brand_feels_it(
    tmp_path: Path,
) -> None:
    from sklearn.tree import DecisionTreeClassifier

    house = House(tmp_path)
    house.register_casa(2.0)
    slow = TREE_CODE.replace("def build_features(rows):", "def build_features(rows):\n    import time\n    time.sleep(0.05)")
    manifest, files, rows = make_stil(DecisionTreeClassifier(), slow)
    register(house, manifest, {name: content for name, content in files.items() if name != SAMPLE_FILE})
    house.edit_brand("stil", "[models.taste.inputs]", "[models.taste.serving]\nconcurrency = 3\n\n[models.taste.inputs]")
    house.edit_brand("stil", 'risk = "high"', 'risk = "high"\nmax_body_bytes = 1000')
    secrets = {"casa": house.add_key("casa"), "stil": house.add_key("stil")}

    async def scene(client: Client, parts: Any) -> None:
        assert (await client.predict(STIL, secrets["stil"], rows[0])).status == 200
        loud = [asyncio.create_task(client.predict(STIL, secrets["stil"], row)) for row in rows[:10]]
        quiet = await client.predict(CASA, secrets["casa"], CASA_ROW)
        assert quiet.status == 200
        answers = await asyncio.gather(*loud)
        assert Counter(answer.status for answer in answers) == {200: 3, 429: 7}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["retry-after"] == "1" and refused.body["error"]["code"] == "too_many_at_once"
        assert refused.body["error"]["message"] == "stil/taste answers 3 requests at once; come again in 1 s"
        assert (await client.predict(STIL, secrets["stil"], rows[0])).status == 200, "places are given back"
        large = await client.predict(STIL, secrets["stil"], *rows[:30])
        assert (large.status, large.body["error"]["code"]) == (413, "body_too_large")
        assert "at most 1000 bytes" in large.body["error"]["message"]
        wide = await client.predict(CASA, secrets["casa"], *[CASA_ROW] * 60)
        assert wide.status == 200, "another brand's limit is its own"

    serve(house, scene)
