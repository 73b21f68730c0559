"""The extracted schema as a file: made once for a set of resource types and a version of the bindings."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from brandhouse_infra.providers.schema import Attribute, Block, Nested
from brandhouse_infra.providers.schema_replica.extraction import Bindings, installed_version
from brandhouse_infra.providers.schema_replica.provider import SchemaReplica

FORMAT = 1
"""Raised when the extraction or this file changes."""


def ensure_schema_file(folder: Path, resources: Iterable[str], data_sources: Iterable[str]) -> Path:
    """Extract the schema of these types, or find the file of an earlier time.

    Raises:
        BindingsError: If the bindings are missing, or know no such type.
    """
    kinds, sources = sorted(set(resources)), sorted(set(data_sources))
    asked = json.dumps([FORMAT, installed_version(), kinds, sources])
    path = folder / f"schema-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        bindings = Bindings.installed()
        document = {
            "provider": _as_document(bindings.provider()),
            "resources": {kind: _as_document(bindings.resource(kind)) for kind in kinds},
            "data_sources": {kind: _as_document(bindings.data_source(kind)) for kind in sources},
        }
        _write(path, json.dumps(document))
    return path


def load_replica(path: Path) -> SchemaReplica:
    """Read a provider from its file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    resources, sources = ({kind: _block(one) for kind, one in document[part].items()} for part in ("resources", "data_sources"))
    return SchemaReplica(_block(document["provider"]), resources, sources)


def _as_document(block: Block) -> dict[str, Any]:
    blocks = {
        name: [_as_document(nested.block), nested.nesting, nested.min_items, nested.max_items] for name, nested in block.blocks.items()
    }
    return {"attributes": {name: dataclasses.astuple(attribute) for name, attribute in block.attributes.items()}, "blocks": blocks}


def _block(document: dict[str, Any]) -> Block:
    blocks = {name: Nested(_block(inner), *rest) for name, (inner, *rest) in document["blocks"].items()}
    return Block({name: Attribute(*values) for name, values in document["attributes"].items()}, blocks)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)  # noqa: PTH105 - of a name, not of a path
