"""MLServer's own client and types against a real gateway; MLServer has an environment of its own, as it cannot share ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, Gateway

pytestmark = [pytest.mark.alone, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
MLSERVER = "mlserver==1.7.1"
PANDAS_CLIENT = """
import json, sys, urllib.request

import pandas as pd

pd.set_option("future.infer_string", False)  # MLServer 1.7 does not know pandas' new type of texts
from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.types import InferenceResponse, MetadataModelResponse, MetadataServerResponse

url, key, model, rows = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])


def ask(path, body=None):
    request = urllib.request.Request(url + path, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


MetadataServerResponse.model_validate_json(ask("/v2"))
metadata = MetadataModelResponse.model_validate_json(ask(f"/v2/models/{model}"))
request = PandasCodec.encode_request(pd.DataFrame(rows), use_bytes=False)
response = InferenceResponse.model_validate_json(ask(f"/v2/models/{model}/infer", request.model_dump_json().encode()))
outputs = {output.name: output for output in response.outputs}
codec = StringCodec if outputs["prediction"].datatype == "BYTES" else NumpyCodec
found = {"inputs": [tensor.name for tensor in metadata.inputs], "prediction": list(codec.decode_output(outputs["prediction"]))}
if "probabilities" in outputs:
    found["probabilities"] = NumpyCodec.decode_output(outputs["probabilities"]).tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def mlserver() -> Path:
    """The folder of MLServer's commands: what `make bench-serving` has installed, else an environment kept in `.tools`."""
    for folder in (ROOT / ".tools" / "peers" / "mlserver", ROOT / ".tools" / "mlserver"):
        if (folder / "bin" / "mlserver").exists():
            return folder / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", MLSERVER, "pandas"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def keys(casa_key: str, stil_key: str) -> dict[str, str]:
    return {"casa": casa_key, "stil": stil_key}


def run(command: list[str | Path]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mlservers_command_infers_a_file_in_batches(mlserver: Path, gateway: Gateway, keys: dict[str, str], tmp_path: Path) -> None:
    areas = [float(area) for area in range(10, 33)]
    lines = [{"inputs": [{"name": "Area m2", "shape": [1, 1], "datatype": "FP64", "data": [area]}]} for area in areas]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [mlserver / "mlserver", "infer", "-u", f"127.0.0.1:{gateway.port}", "-m", "casa.price", "-s", "5", "-w", "2"]
    command += ["-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "-H", f"Authorization: Bearer {keys['casa']}"]
    run(command)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = {one["parameters"]["batch_index"]: one["outputs"][0]["data"] for one in answers}
    assert [found[index] for index in range(len(areas))] == [[2 * area + 10] for area in areas]


@pytest.mark.parametrize("brand", ["casa", "stil"])
def test_mlservers_types_and_pandas_codec_read_and_write_what_the_gateway_does(
    mlserver: Path, gateway: Gateway, keys: dict[str, str], brand: str
) -> None:
    stil_rows = [{"visits": 7, "town": "Delft", "since": "2019-05-01"}, {"visits": 0, "town": "Ede", "since": "2024-01-01"}]
    key, rows = (CASA, [CASA_ROW, {"Area m2": 10.5, "garden": False}]) if brand == "casa" else (STIL, stil_rows)
    url = f"http://127.0.0.1:{gateway.port}"
    found = json.loads(run([mlserver / "python", "-W", "ignore", "-c", PANDAS_CLIENT, url, keys[brand], key.dotted, json.dumps(rows)]))
    expected = gateway.predict(keys[brand], key, *rows)[2]
    assert found["prediction"] == expected["predictions"] and found["inputs"][0] == next(iter(rows[0]))
    if brand == "stil":
        assert found["probabilities"] == [list(shares.values()) for shares in expected["probabilities"]]
