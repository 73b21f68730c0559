"""Builds the Bento of one version with BentoML's own command, in a process of its own, into the brand's own store.

A Bento holds `service.py`, `bento.json`, the sources that it imports, pinned requirements, a Dockerfile, and names the
BentoML model, which `bentoml export` and `bentoml containerize` copy into it. No table, no secret, nothing of another brand.
The same version, platform code and lock make the same tag: a Bento is never changed, and never built twice.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brandhouse_serving.bento_alone import BentoFacts
from brandhouse_serving.bento_sources import BentoBuildError, find_requirements, find_sources
from brandhouse_serving.model_store import BentoArtifactStore
from brandhouse_shared.artifacts import Manifest, read_manifest
from brandhouse_shared.errors import join_bounded
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import VersionKey

PYTHON_VERSION = "3.11"
BUILD_SECONDS = 300
DIGITS = 12
"""Of the content's digest in a tag."""

SERVICE = '''"""Answers for {key}, alone. Made by `brandhouse bento`; what it does is in brandhouse_serving/bento_alone.py."""

from pathlib import Path

from brandhouse_serving.bento_alone import build_alone

service = build_alone(Path(__file__).with_name("bento.json"))
'''
BENTOFILE = """service: "service:service"
name: "{name}"
description: "file:DESCRIPTION.md"
labels:
  brand: "{brand}"
  model: "{model}"
  version: "v{number}"
  digest: "{digest}"
  runtime: "{runtime}"
models:
  - "{model_tag}"
include: ["*.py", "*.json", "brandhouse_serving/", "brandhouse_shared/"]
python:
  requirements_txt: "requirements.txt"
  lock_packages: false
docker:
  distro: debian
  python_version: "{python}"
"""
NO_UV = """#!/bin/sh
echo "uv was called with $*: a Bento's packages come pinned out of our lock, nothing is resolved while it is built" >&2
exit 1
"""
DESCRIPTION = """# {key}

{runtime}: {reason}

`POST /predict` with `{{"instances": [{{...}}]}}` and the type `application/json`. Input fields: {fields}.

Without `BRANDHOUSE_BENTO_KEY_HASH` (the SHA-256 of a key that callers send as a bearer token) it answers callers on its own
machine only. Nothing is logged, and answers carry no ids.
"""


@dataclass(frozen=True, slots=True)
class BuiltBento:
    """A Bento in a brand's store.

    Attributes:
        tag: `<brand>.<model>:v<number>-<digits of its content's digest>`.
        path: Its folder.
        home: What BENTOML_HOME must be to find it by its tag.
        runtime: What answers in it.
        is_new: Whether it was built now; False if the same was there already.
    """

    key: VersionKey
    tag: str
    path: Path
    home: Path
    runtime: str
    is_new: bool


def build_bento(home: Path, version: Version, max_rows: int, lock_file: Path) -> BuiltBento:
    """Build the Bento of one version, or find the same one built before.

    Args:
        home: The platform's local state.
        version: Which.
        max_rows: Rows that a request may hold.
        lock_file: Our requirements lock.

    Raises:
        ArtifactCorruptError: If the version's artifact is missing or altered.
        BentoBuildError: If it cannot be built.
    """
    store = BentoArtifactStore(home)
    key, digest = version.record.key, version.record.artifact_digest
    manifest = read_manifest(store.find(key, digest))
    facts = BentoFacts(
        brand=key.brand, model=key.model, version=version.number, digest=digest, model_tag=store.tag_of(key, digest), max_rows=max_rows
    )
    files = _context(facts, manifest, lock_file)
    name, label = facts.model_tag.partition(":")[0], f"v{version.number}-{_digest(files)[:DIGITS]}"
    bento_home = store.home_of(key.brand)
    path = bento_home / "bentos" / name / label
    with store.exclusive(key.brand):
        is_new = not _is_whole(path, files)
        if is_new:
            shutil.rmtree(path, ignore_errors=True)
            _build(bento_home, files, label)
    return BuiltBento(facts.key, f"{name}:{label}", path, bento_home, str(manifest.runtime), is_new)


def export_bento(bento: BuiltBento, file: Path) -> None:
    """Write the Bento with its model into one file, for `bentoml import` elsewhere. An existing file is replaced.

    Raises:
        BentoBuildError: If it cannot be written.
    """
    check_file(file)
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".bento-") as scratch:
        draft = Path(scratch) / file.name
        _run_bentoml(bento.home, Path(scratch), "export", bento.tag, str(draft))
        draft.replace(file)


def check_file(file: Path) -> None:
    """Refuse a file that a Bento cannot be written to, before time is spent on building it.

    Raises:
        BentoBuildError: If its name or its folder is wrong.
    """
    if file.suffix != ".bento":
        raise BentoBuildError(f"{file.name}: a Bento's file ends in .bento")
    if not file.absolute().parent.is_dir():
        raise BentoBuildError(f"{file}: there is no such folder to write it to")


def _context(facts: BentoFacts, manifest: Manifest, lock_file: Path) -> dict[str, bytes]:
    """All files that the Bento is built from: path to content."""
    words = {
        "key": facts.key,
        "name": facts.model_tag.partition(":")[0],
        "brand": facts.brand,
        "model": facts.model,
        "number": facts.version,
        "digest": facts.digest,
        "runtime": manifest.runtime,
        "reason": manifest.reason,
        "model_tag": facts.model_tag,
        "python": PYTHON_VERSION,
        "fields": join_bounded([f"`{name}`" for name in manifest.inputs], 40),
    }
    texts = {
        "service.py": SERVICE.format(**words),
        "bento.json": facts.model_dump_json(indent=1) + "\n",
        "bentofile.yaml": BENTOFILE.format(**words),
        "DESCRIPTION.md": DESCRIPTION.format(**words),
        "requirements.txt": find_requirements(manifest, lock_file),
    }
    return {**{path: text.encode() for path, text in texts.items()}, **find_sources()}


def _digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 of what the Bento is built from; of the model's bytes by their digest, which is in `bento.json`."""
    digest = hashlib.sha256(importlib.metadata.version("bentoml").encode())
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _is_whole(path: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the Bento lies there with every source as it was built from; a half-written one does not."""
    carried = {name: content for name, content in files.items() if name.endswith((".py", ".json"))}
    try:
        return (path / "bento.yaml").is_file() and all((path / "src" / name).read_bytes() == content for name, content in carried.items())
    except OSError:
        return False


def _build(bento_home: Path, files: Mapping[str, bytes], label: str) -> None:
    with tempfile.TemporaryDirectory(prefix="brandhouse-bento-") as scratch:
        context, tools = Path(scratch) / "context", Path(scratch) / "tools"
        for name, content in files.items():
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        # BentoML 1.4 looks for uv, and would install it, before it finds that there is nothing to lock.
        tools.mkdir()
        (tools / "uv").write_text(NO_UV)
        (tools / "uv").chmod(0o700)
        try:
            _run_bentoml(
                bento_home, context, "build", "--version", label, ".", path=f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            )
        finally:  # BentoML leaves its draft there
            shutil.rmtree(bento_home / "tmp", ignore_errors=True)


def _run_bentoml(bento_home: Path, folder: Path, *arguments: str, path: str | None = None) -> None:
    """Run BentoML's command in a folder, with the brand's store and none of our variables: no secret can reach what it builds."""
    kept = {name: value for name in ("PATH", "TMPDIR", "LANG") if (value := os.environ.get(name)) is not None}
    kept |= {"PATH": path} if path else {}
    environment = {**kept, "HOME": str(bento_home), "BENTOML_HOME": str(bento_home), "BENTOML_DO_NOT_TRACK": "true"}
    command = [sys.executable, "-B", "-m", "bentoml", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BentoBuildError(f"`bentoml {arguments[0]}` did not end within {BUILD_SECONDS} s") from None
    if done.returncode:
        last = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise BentoBuildError(f"`bentoml {arguments[0]}` failed: {last[-500:]}")
