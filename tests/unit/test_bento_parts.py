"""What a Bento carries and whom it answers: sources, pinned packages, the door."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from brandhouse_serving.bento_alone import BentoFacts, Door
from brandhouse_serving.bento_sources import BentoBuildError, find_requirements, find_sources
from brandhouse_shared.artifacts import GraphInput, Manifest, Runtime
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import BrandhouseError, ForbiddenError, UnauthenticatedError
from brandhouse_shared.metrics import Task

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
HERE = ("127.0.0.1", 5)
AWAY = ("192.0.2.7", 5)
HASH = hashlib.sha256(b"key").hexdigest()


def manifest(runtime: Runtime, *, code: str = "", transform: str = "number") -> Manifest:
    return Manifest(
        brand="casa",
        model="price",
        task=Task.REGRESSION,
        target="price",
        runtime=runtime,
        reason="test",
        inputs={"area": InputField(type=FieldType.NUMBER)},
        graph_inputs=(GraphInput.model_validate({"field": "area", "transform": transform}),) if runtime is Runtime.COMPILED else (),
        constant=(1.0,),
        entrypoint="brand_casa.price",
        code_digest="0" * 64,
        code_files={"__init__.py": "", "price.py": code} if code else {},
    )


def names_of(requirements: str) -> set[str]:
    return {line.partition("==")[0] for line in requirements.splitlines() if "==" in line and not line.startswith(" ")}


# -- sources ---------------------------------------------------------------------------------------------------------


def test_the_sources_are_those_that_answering_imports_and_nothing_of_gateway_or_ledger() -> None:
    found = find_sources()
    assert {"brandhouse_serving/bento_alone.py", "brandhouse_shared/answering.py", "brandhouse_shared/contracts.py"} <= found.keys()
    assert {"brandhouse_shared/features.py"} <= found.keys(), "imported inside a function, by python versions"
    assert {"brandhouse_serving/__init__.py", "brandhouse_shared/__init__.py"} <= found.keys()
    strangers = ("ledger", "gateway", "lane", "router", "keys", "prediction_log", "silo", "ready/", "model_store", "replies")
    assert not [path for path in found if any(stranger in path for stranger in strangers)], "a Bento carries what answers, and no more"


def test_the_sources_import_nothing_of_ours_that_is_not_among_them(tmp_path: Path) -> None:
    for name, content in find_sources().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    script = (
        "import sys; sys.path[:] = [sys.argv[1], *[path for path in sys.path if '/src' not in path]]\n"
        "import brandhouse_serving.bento_alone as alone, brandhouse_shared.features\n"
        "assert alone.__file__.startswith(sys.argv[1]), alone.__file__\n"
        "assert not {'sqlalchemy', 'fastapi', 'sklearn', 'bentoml', 'onnxruntime'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- packages --------------------------------------------------------------------------------------------------------


def test_a_compiled_version_needs_onnx_runtime_and_no_scikit_learn() -> None:
    names = names_of(find_requirements(manifest(Runtime.COMPILED), LOCK))
    assert {"bentoml", "onnxruntime", "numpy", "orjson", "pydantic", "starlette"} <= names
    assert not {"scikit-learn", "pandas", "skops", "pyarrow", "sqlalchemy", "fastapi", "prefect"} & names


def test_a_compiled_version_that_lowers_texts_needs_arrow_too() -> None:
    assert "pyarrow" in names_of(find_requirements(manifest(Runtime.COMPILED, transform="clean"), LOCK))


def test_a_python_version_needs_scikit_learn_and_what_its_own_code_imports() -> None:
    code = "import json\nimport yaml\nfrom brand_casa import other\nfrom . import more\n"
    plain = names_of(find_requirements(manifest(Runtime.PYTHON), LOCK))
    found = names_of(find_requirements(manifest(Runtime.PYTHON, code=code + "import optuna"), LOCK))
    assert {"scikit-learn", "skops", "pandas", "pyarrow", "scipy"} <= plain
    assert "onnxruntime" not in plain
    assert {"optuna", "pyyaml"} <= found and "optuna" not in plain


def test_every_package_is_pinned_with_the_lock_s_own_hashes() -> None:
    text = find_requirements(manifest(Runtime.COMPILED), LOCK)
    lock = LOCK.read_text()
    blocks = [block for block in text.replace(" \\\n", " \\ ").splitlines() if block]
    assert len(blocks) > 30
    assert all("--hash=sha256:" in block for block in blocks)
    assert all(line in lock for line in text.splitlines()), "no line is our own"


@pytest.mark.parametrize(
    ("code", "lock", "message"),
    [
        ("import nothing_has_this", None, r"casa/price: price.py imports nothing_has_this, and no installed package has it"),
        ("", "numpy==2.4.6 \\\n    --hash=sha256:00\n", r"casa/price: the.lock lacks a2wsgi, .*; run `make lock`"),
        ("", "", r"a Bento's packages are pinned out of the.lock, and there is none"),
    ],
)
def test_what_cannot_be_pinned_is_refused_with_what_to_do(code: str, lock: str | None, message: str, tmp_path: Path) -> None:
    file = LOCK if lock is None else tmp_path / "the.lock"
    if lock:
        file.write_text(lock)
    with pytest.raises(BentoBuildError, match=message):
        find_requirements(manifest(Runtime.PYTHON, code=code), file)


# -- door ------------------------------------------------------------------------------------------------------------


def test_without_a_key_only_this_machine_is_answered() -> None:
    door = Door({})
    door.admit({}, HERE)
    door.admit({}, ("::1", 5))
    for headers, client in (
        ({}, AWAY),
        ({b"x-forwarded-for": b"192.0.2.7"}, HERE),
        ({b"via": b"1.1 proxy"}, HERE),
        ({}, None),
        ({}, ("odd", 1)),
    ):
        with pytest.raises(ForbiddenError, match="set BRANDHOUSE_BENTO_KEY_HASH"):
            door.admit(headers, client)


def test_with_a_key_its_holder_is_answered_from_anywhere_and_nobody_else() -> None:
    door = Door({"BRANDHOUSE_BENTO_KEY_HASH": f"{'0' * 64}, {HASH.upper()}", "BRANDHOUSE_BENTO_OPEN": "1"})
    door.admit({b"authorization": b"Bearer key"}, AWAY)
    for header in (b"", b"Bearer ", b"Bearer other", b"Basic key", b"key", f"Bearer {HASH}".encode()):
        with pytest.raises(UnauthenticatedError):
            door.admit({b"authorization": header}, HERE)


def test_everybody_is_answered_only_if_that_was_said() -> None:
    Door({"BRANDHOUSE_BENTO_OPEN": "1"}).admit({}, AWAY)
    with pytest.raises(ForbiddenError):
        Door({"BRANDHOUSE_BENTO_OPEN": "yes"}).admit({}, AWAY)


def test_a_hash_that_is_none_keeps_the_service_from_starting() -> None:
    with pytest.raises(BrandhouseError, match="BRANDHOUSE_BENTO_KEY_HASH holds no SHA-256"):
        Door({"BRANDHOUSE_BENTO_KEY_HASH": "key"})


def test_it_listens_on_loopback_outside_of_a_container() -> None:
    assert Door({}).host == "127.0.0.1"
    assert Door({"BENTOML_CONTAINERIZED": "true"}).host == "0.0.0.0"


def test_the_facts_name_the_version() -> None:
    facts = BentoFacts(brand="casa", model="price", version=3, digest="0" * 64, model_tag="casa.price:0", max_rows=5)
    assert str(facts.key) == "casa/price/v3"
