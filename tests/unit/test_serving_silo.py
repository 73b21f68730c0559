"""What a brand's own process reads and says: JSON only, its own brand only, and never a row's value."""

import asyncio
import math
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from brandhouse_serving.silo import SiloModels, decode_columns, describe_failure, only_json
from brandhouse_serving.silo_pool import SiloPool
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import ArtifactCorruptError, EntrypointError


def test_canonical_columns_survive_their_way_through_json() -> None:
    inputs = {
        "area": InputField(type=FieldType.NUMBER),
        "town": InputField(type=FieldType.CATEGORY),
        "since": InputField(type=FieldType.DATE),
    }
    import orjson

    columns = {"area": [0.1 + 0.2, math.nan], "town": ["", "Delft"], "since": [datetime(2026, 1, 2), None]}
    decoded = decode_columns(orjson.loads(orjson.dumps(columns)), inputs)
    assert decoded["area"][0] == 0.1 + 0.2 and math.isnan(decoded["area"][1])
    assert (decoded["town"], decoded["since"]) == (columns["town"], columns["since"])


def test_an_error_is_described_by_class_and_place_and_not_by_its_text() -> None:
    try:
        try:
            raise ValueError("asthma")
        except ValueError as error:
            raise EntrypointError("asthma") from error
    except EntrypointError as error:
        text = describe_failure(error)
    assert "asthma" not in text and text.startswith("EntrypointError at ") and ", from ValueError at " in text


def test_another_brands_artifact_is_not_found_by_a_silo(tmp_path: Path) -> None:
    from brandhouse_serving.model_store import BentoArtifactStore
    from brandhouse_shared.names import ModelKey

    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "manifest.json").write_text("{}")
    digest = BentoArtifactStore(tmp_path).save(ModelKey("casa", "price"), tmp_path / "draft", {})
    with pytest.raises(ArtifactCorruptError, match=r"stil/price artifact .*: it is not in the store"):
        SiloModels("stil", tmp_path).load("price", digest)


BENTOML_TYPES = ["application/vnd.bentoml+pickle", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain"]
BENTOML_TYPES += ["image/png", "image/jpeg", "application/octet-stream", "application/vnd.apache.parquet", "*/*"]


@pytest.mark.parametrize(
    "kind", [*(kind.encode() for kind in BENTOML_TYPES), b"", b"application/json; x", b"APPLICATION/VND.BENTOML+PICKLE"]
)
def test_anything_but_json_is_refused_before_bentoml_sees_it(kind: bytes) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("reached")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-type", kind)]}
    asyncio.run(only_json(app)(scope, lambda: asyncio.sleep(0), send))
    assert sent[0]["status"] == 415


def test_a_pool_that_started_nothing_stops_at_once(tmp_path: Path) -> None:
    pool = SiloPool(tmp_path, 512)
    pool.stop()
    assert pool.process_ids() == {}


def test_the_gateway_starts_without_the_libraries_that_only_silos_and_saving_need() -> None:
    code = "import sys, brandhouse_serving.main\nprint(sorted({'pandas', 'sklearn', 'skops', 'bentoml', 'httpx'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]", "each of them would add a third of a second or more to the start"
