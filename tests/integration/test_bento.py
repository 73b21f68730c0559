"""A version as a Bento: built by the command, served by `bentoml serve`, handed to a container engine, the same twice."""

import http.client
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import CASA, CASA_ROW, STIL, STIL_ROW, House, free_port, wait_until

from brandhouse_console.main import app
from brandhouse_serving.bento_building import BuiltBento, build_bento, export_bento

LOCK = Path(__file__).parents[2] / "requirements.lock"
BENTOML = str(Path(sys.executable).with_name("bentoml"))
REFUSING = '''
"""Nothing that the Bento's requirements lack may be imported, nor the platform's own folders."""
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"sklearn", "pandas", "skops", "pyarrow", "sqlalchemy", "fastapi", "prefect"}:
            raise ImportError(f"{name} is not among the Bento's requirements")

sys.meta_path.insert(0, Refusing())
sys.path[:] = [path for path in sys.path if not path.endswith(("serving/src", "shared/src"))]
'''

ENGINE = """#!/bin/sh
case "$1" in version|--version|-v|info) echo "27.0.0"; exit 0;; esac
printf "%s\\n" "$@" >> {folder}/arguments
for last in "$@"; do :; done
[ -d "$last/src" ] && cp -r "$last" {folder}/context
exit 0
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_stil()
    (house.root / "requirements.lock").write_bytes(LOCK.read_bytes())
    return house


@pytest.fixture(scope="module")
def casa(house: House) -> BuiltBento:
    return build(house, CASA)


def build(house: House, key: Any) -> BuiltBento:
    return build_bento(house.home, house.ledger.versions(key)[0], 100, LOCK)


@contextmanager
def served(bento: BuiltBento, folder: Path, **variables: str) -> Iterator["Server"]:
    """`bentoml serve` of a Bento, by its tag, in a process that can import what the Bento says it needs."""
    (folder / "sitecustomize.py").write_text(REFUSING if bento.runtime == "compiled" else "")
    port = free_port(8210, 8290)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRANDHOUSE", "BENTOML"))}
    environment = {**kept, "BENTOML_HOME": str(bento.home), "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(folder), **variables}
    command = [BENTOML, "serve", bento.tag, "--port", str(port)]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    server = Server(port, process.pid, folder / "serve.log")
    try:
        wait_until(lambda: process.poll() is not None or server.is_ready(), 60)
        assert process.poll() is None, server.log.read_text()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Server:
    def __init__(self, port: int, pid: int, log: Path) -> None:
        self.port = port
        self.pid = pid
        self.log = log

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(content) if is_json else content

    def addresses(self) -> set[str]:
        """Addresses that the process and its children listen on, at the service's port."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        found = [one for process in processes for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        return {one.laddr.ip for one in found if one.laddr.port == self.port}


# -- contents --------------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bento_holds_what_answers_and_nothing_else(casa: BuiltBento) -> None:
    found = files_of(casa.path)
    ours = {name for name in found if name.startswith(("src/brandhouse_", "env/"))}
    assert found.keys() - ours == {
        "README.md",
        "apis/openapi.yaml",
        "apis/schema.json",
        "bento.yaml",
        "src/bento.json",
        "src/bentofile.yaml",
        "src/service.py",
    }
    assert {name for name in ours if name.startswith("env/")} == {
        "env/docker/Dockerfile",
        "env/docker/entrypoint.sh",
        "env/python/requirements.in",
        "env/python/requirements.txt",
    }
    text = b"\n".join(found.values())
    assert not re.search(rb"\bstil\b", text), "nothing of another brand"
    assert str(casa.home.parents[1]).encode() not in text, "no path of this machine"
    assert yaml.safe_load(found["bento.yaml"])["models"][0]["tag"].startswith("casa.price:")


def test_the_dockerfile_pins_python_runs_as_nobody_special_and_installs_the_pinned_packages(casa: BuiltBento) -> None:
    _check_dockerfile((casa.path / "env/docker/Dockerfile").read_text())
    lines = (casa.path / "env/python/requirements.txt").read_text().splitlines()
    assert sum("--hash=sha256:" in line for line in lines) > 100
    assert {line for line in lines if line.startswith("bentoml==")} == {
        f"bentoml=={_version_of('bentoml')} \\",
        f"bentoml=={_version_of('bentoml')}",
    }


def _version_of(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _check_dockerfile(text: str) -> None:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM python:3.11-slim AS base-container"]
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER bentoml"] and lines.index("USER bentoml") > max(n for n, line in enumerate(lines) if line.startswith("RUN"))
    assert re.search(r"BENTO_USER_UID=(\d+)", text)[1] != "0"  # type: ignore[index]
    copies = [line.split()[2:] for line in lines if line.startswith(("COPY", "ADD"))]
    assert copies == [["./env/docker", "./env/docker/"], ["./env/python", "./env/python/"], [".", "./"]], "only from the Bento itself"
    assert "pip install -r $BENTO_PATH/env/python/requirements.txt" in text
    assert not re.search(r"curl|wget|http://|--extra-index-url|--trusted-host|ARG .*(KEY|TOKEN|SECRET|PASSWORD)", text)


# -- serving alone ---------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_it_answers_alone_as_the_gateway_does(casa: BuiltBento, tmp_path: Path) -> None:
    secret = {"BRANDHOUSE_BENTO_KEY_HASH": sha256(b"open sesame").hexdigest()}
    with served(casa, tmp_path, **secret) as server:
        key = {"Authorization": "Bearer open sesame"}
        status, headers, answer = server.call("POST", "/predict", {"instances": [CASA_ROW, {"Area m2": 0.5}]}, **key)
        assert (status, answer) == (200, {"model": "casa/price/v1", "predictions": [170.0, 11.0]})
        assert "x-brandhouse-fallback" not in headers
        assert server.addresses() == {"127.0.0.1"}
        for method, path in (("POST", "/predict"), ("GET", "/schema.json"), ("GET", "/docs.json"), ("GET", "/metrics"), ("GET", "/")):
            assert server.call(method, path, {"instances": [CASA_ROW]} if method == "POST" else None)[0] == 401, path
        for kind in (
            "application/vnd.bentoml+pickle",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/vnd.apache.arrow.file",
        ):
            status, _, answer = server.call("POST", "/predict", b'{"instances": [{}]}', **key, Content_Type=kind)
            assert (status, answer["error"]["code"]) == (415, "unsupported_media_type"), kind
        assert server.call("POST", "/other", {"instances": [CASA_ROW]}, **key)[0] == 404
        for body, code, message in (
            ({"instances": [{"Area m2": "80"}]}, "invalid_input", "instances[0].Area m2: a text given; allowed: a number at least 0"),
            ({"instances": [{"Area m2": 1, "x": 1}]}, "invalid_input", "instances[0]: unknown field x; allowed: Area m2, garden"),
            ({"instances": []}, "invalid_input", "instances: allowed: a list of at least one object"),
            ({"instances": [7]}, "invalid_input", "instances[0]: a whole number given; allowed: an object"),
            (b'{"instances": [{"Area m2": 1, "Area m2": 2}]}', "invalid_input", "Area m2: given more than once in one object"),
        ):
            status, _, answer = server.call("POST", "/predict", body, **key)
            assert (status, answer["error"]["code"]) == (422, code)
            assert answer["error"]["violations"][0].startswith(message)
        assert server.call("POST", "/predict", b'{"instances": [{"Area m2": NaN}]}', **key)[2]["error"]["code"] == "invalid_json"
        assert server.call("POST", "/predict", {"instances": [CASA_ROW] * 101}, **key)[0] == 413
        assert "Traceback" not in server.log.read_text()


@pytest.mark.alone
@pytest.mark.slow
def test_a_python_version_answers_alone_too_and_its_constant_when_its_code_fails(house: House, tmp_path: Path) -> None:
    bento = build(house, STIL)
    names = {line.partition("==")[0] for line in (bento.path / "env/python/requirements.txt").read_text().splitlines()}
    assert {"scikit-learn", "skops", "pandas"} <= names
    with served(bento, tmp_path) as server:
        status, headers, answer = server.call("POST", "/predict", {"instances": [STIL_ROW]})
        assert (status, answer["model"], answer["predictions"]) == (200, "stil/taste/v1", ["yes"])
        assert answer["probabilities"][0].keys() == {"no", "yes"} and "x-brandhouse-fallback" not in headers
        status, headers, answer = server.call("POST", "/predict", {"instances": [{"visits": 666}]})
        assert (status, answer["probabilities"]) == (200, [{"no": 0.75, "yes": 0.25}])
        assert headers["x-brandhouse-fallback"] == "baseline; runtime failed"
        assert "666" not in server.log.read_text(), "no value of a request in the log"
        assert server.call("POST", "/predict", {"instances": [STIL_ROW]}, X_Forwarded_For="192.0.2.7")[0] == 403
        client = "import bentoml, sys; print(bentoml.SyncHTTPClient(sys.argv[1]).predict(instances=[{'visits': 7}])['predictions'])"
        done = subprocess.run(
            [sys.executable, "-c", client, f"http://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip().splitlines()[-1] in ("['yes']", "['no']"), "BentoML's own client speaks to it"


@pytest.mark.slow
def test_altered_model_bytes_are_not_served(house: House, tmp_path: Path) -> None:
    from brandhouse_serving.bento_alone import LoneModel
    from brandhouse_shared.errors import ArtifactCorruptError

    facts, folder = _facts_and_model(house, tmp_path)
    LoneModel(facts, folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(ArtifactCorruptError, match=r"casa/price/v1: .*not those that were registered"):
        LoneModel(facts, folder)


def _facts_and_model(house: House, tmp_path: Path) -> tuple[Any, Path]:
    import shutil

    from brandhouse_serving.bento_alone import BentoFacts

    bento = build(house, CASA)
    facts = BentoFacts.model_validate_json((bento.path / "src/bento.json").read_bytes())
    shutil.copytree(house.store.find(CASA, facts.digest), tmp_path / "model")
    return facts, tmp_path / "model"


# -- the command -----------------------------------------------------------------------------------------------------


def run(house: House, *arguments: str) -> Any:
    places = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    return CliRunner().invoke(app, ["bento", *arguments], env=places)


def test_the_command_names_the_bento_and_builds_it_once(house: House, casa: BuiltBento) -> None:
    done = run(house, "casa/price", "--version", "v1", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert re.fullmatch(r"casa\.price:v1-[0-9a-f]{12}", document["tag"])
    assert (document["tag"], document["path"], document["built"]) == (casa.tag, str(casa.path), False)
    assert document["serve"] == f"BENTOML_HOME={casa.home} bentoml serve {casa.tag} --port 3000"
    assert document["containerize"].endswith(f"bentoml containerize {casa.tag}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["casa/unborn"], "casa/unborn has no version in production; name one with --version"),
        (["casa/price", "--version", "v9"], "casa/price has no version"),
        (["casa/price", "--output", "/nowhere/x.bento"], "there is no such folder"),
        (["casa/price", "--output", "x.zip"], "x.zip: a Bento's file ends in .bento"),
        (["casa/price", "--output", "{root}/brands/stil/x.bento"], "lies in another brand's folder"),
    ],
)
def test_what_cannot_be_built_is_said(arguments: list[str], message: str, house: House, casa: BuiltBento) -> None:
    done = run(house, *[one.format(root=house.root) for one in arguments])
    assert done.exit_code != 0
    assert message in str(done.exception or done.output)


@pytest.mark.slow
def test_an_exported_bento_holds_its_model_and_is_found_elsewhere_by_its_tag(house: House, casa: BuiltBento, tmp_path: Path) -> None:
    export_bento(casa, tmp_path / "casa.bento")
    assert [path.name for path in tmp_path.iterdir()] == ["casa.bento"], "no scratch is left"
    with tarfile.open(tmp_path / "casa.bento") as archive:
        names = archive.getnames()
    assert [name for name in names if name.endswith("model.onnx")]
    assert not [name for name in names if "stil" in name or name.endswith((".db", ".parquet", ".csv"))]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "elsewhere"), "BENTOML_DO_NOT_TRACK": "true"}
    subprocess.run([BENTOML, "import", str(tmp_path / "casa.bento")], env=environment, check=True, capture_output=True)
    listed = subprocess.run([BENTOML, "list", "-o", "json"], env=environment, check=True, capture_output=True, text=True).stdout
    assert [one["tag"] for one in json.loads(listed)] == [casa.tag]


@pytest.mark.slow
def test_the_same_version_makes_the_same_bento(casa: BuiltBento, tmp_path: Path) -> None:
    other = House(tmp_path)
    other.register_casa(2.0)
    again = build(other, CASA)
    assert again.is_new and again.tag == casa.tag
    first, second = files_of(casa.path), files_of(again.path)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} <= {"bento.yaml"}
    stamps = re.compile(rb"creation_time: .*")
    assert stamps.sub(b"", first["bento.yaml"]) == stamps.sub(b"", second["bento.yaml"]), "it differs in when it was built only"


@pytest.mark.slow
def test_each_brand_s_store_lists_its_own_bentos_only(house: House, casa: BuiltBento) -> None:
    stil = build(house, STIL)
    for bento in (casa, stil):
        environment = {**os.environ, "BENTOML_HOME": str(bento.home), "BENTOML_DO_NOT_TRACK": "true"}
        listed = subprocess.run([BENTOML, "list", "-o", "json"], env=environment, check=True, capture_output=True, text=True).stdout
        assert [one["tag"] for one in json.loads(listed)] == [bento.tag]


# -- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_containerize_hands_the_engine_the_bento_with_its_model_and_nothing_else(casa: BuiltBento, tmp_path: Path) -> None:
    """The engine is a stand-in that keeps what it is given: the build context and its arguments."""
    (tmp_path / "bin").mkdir()
    engine = tmp_path / "bin" / "docker"
    engine.write_text(ENGINE.format(folder=tmp_path))
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "BENTOML_HOME": str(casa.home),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    done = subprocess.run(
        [BENTOML, "containerize", casa.tag, "-t", "casa-price:v1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "build" in arguments and "casa-price:v1" in arguments
    assert not [one for one in arguments if one.startswith(("--secret", "--build-arg"))]
    context = files_of(tmp_path / "context")
    bento = files_of(casa.path)
    assert {name for name in context if name not in bento} == {name for name in context if name.startswith("models/casa.price/")}, (
        "the model is added, and nothing else"
    )
    assert any(name.endswith("/model.onnx") for name in context)
    _check_dockerfile(context["env/docker/Dockerfile"].decode())
