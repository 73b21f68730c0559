"""Rebuild schemas of resources from the CDK's bindings, which were generated from the provider's own.

The bindings' description (155 MB of JSON in a wheel) is not parsed as a whole: each type is one entry of an object, in
order, and only the entries that are needed are cut out.

What the bindings have lost: how many blocks may stand at most where that is more than one, whether blocks are a list or
a set, and whether an optional attribute is filled in by the provider.
"""

import importlib.util
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from brandhouse_infra.errors import InfraError
from brandhouse_infra.providers.schema import Attribute, Block, Nested, Type

PACKAGE = "cdktn_provider_aws"
ASSEMBLY = "@cdktn/provider-aws"
_PLAIN = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
_URL = re.compile(r"/docs/(?:resources|data-sources)/\w+#(\w+) |/docs#(\w+) ")
_META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}


class BindingsError(InfraError):
    """The bindings are not installed, or not as expected."""


class Bindings:
    """The installed bindings of the AWS provider."""

    def __init__(self, assembly: bytes) -> None:
        self._bytes = assembly
        self._types: dict[str, dict[str, Any]] = {}
        self._starts: dict[bytes, int] = {}
        for match in re.finditer(rb'\n    "' + re.escape(ASSEMBLY.encode()) + rb"\.(\w+)\.", assembly):
            self._starts.setdefault(match.group(1), match.start())

    @classmethod
    def installed(cls) -> "Bindings":
        """Read those of this environment, without importing them.

        Raises:
            BindingsError: If there are none.
        """
        with tarfile.open(_archive()) as archive:
            file = archive.extractfile("package/.jsii")
            return cls(file.read() if file else b"")

    def resource(self, kind: str) -> Block:
        """The schema of a resource type, such as `aws_s3_bucket`.

        Raises:
            BindingsError: If the bindings know no such type.
        """
        return self._block_of(kind.removeprefix("aws_"), "")

    def data_source(self, kind: str) -> Block:
        """The schema of a data source."""
        return self._block_of(f"data_{kind}", "")

    def provider(self) -> Block:
        """The schema of the `provider` block."""
        return self._block_of("provider", "aws_")

    def _block_of(self, kind: str, prefix: str) -> Block:
        # A class is named after its module, but for a trailing A where Java would not have the name.
        module, plain = _camel(kind), _pascal(prefix + kind)
        types = self._module(module)
        name = next((name for name in (plain, f"{plain}A") if f"{name}Config" in types), None)
        if name is None:
            raise BindingsError(f"the bindings know no aws_{kind}; look up the type's name, or change the version in infra/pyproject.toml")
        block = self._struct(f"{name}Config", types, top=True)
        return block if prefix else Block({**_computed(types[name], block), **block.attributes}, block.blocks)

    def _struct(self, name: str, types: dict[str, Any], *, top: bool = False) -> Block:
        attributes: dict[str, Attribute] = {}
        blocks: dict[str, Nested] = {}
        for declared in types[name].get("properties", ()):
            written = _written_name(declared)
            if top and written in _META:
                continue
            required = not declared.get("optional", False)
            inner, many = _inner(declared["type"], types)
            if inner is not None and _is_block(declared):
                nesting = "single" if not many and written == "timeouts" else "list"
                most = 0 if many or nesting == "single" else 1
                blocks[written] = Nested(self._struct(inner, types), nesting, int(required and nesting == "list"), most)
            else:
                held = self._type(declared["type"], types)
                # The bindings do not tell which optional attributes the provider fills in; `id` is one everywhere.
                attributes[written] = Attribute(
                    held, required=required, optional=not required, computed=top and not required and written == "id"
                )
        return Block(attributes, blocks)

    def _type(self, declared: dict[str, Any], types: dict[str, Any]) -> Type:
        if "union" in declared:
            return self._type(_chosen(declared), types)
        if "primitive" in declared:
            return _PLAIN[declared["primitive"]]
        if "collection" in declared:
            kind = "map" if declared["collection"]["kind"] == "map" else "list"
            return [kind, self._type(declared["collection"]["elementtype"], types)]
        name = declared["fqn"].rpartition(".")[2]
        if name not in types:
            return "dynamic" if name in ("IResolvable", "AnyMap") else ["map", "bool" if name == "BooleanMap" else "string"]
        return self._struct(name, types).type

    def _module(self, module: str) -> dict[str, Any]:
        if module not in self._types:
            self._types[module] = dict(self._entries(module))
        return self._types[module]

    def _entries(self, module: str) -> Iterator[tuple[str, Any]]:
        prefix = f'\n    "{ASSEMBLY}.{module}.'.encode()
        start = self._starts.get(module.encode(), -1)
        while start >= 0 and self._bytes.startswith(prefix, start):
            end = self._bytes.index(b"\n    }", start) + len(b"\n    }")
            key, _, body = self._bytes[start:end].partition(b": ")
            yield key.decode().rstrip('"').rpartition(".")[2], json.loads(body)
            start = end + 1 if self._bytes[end : end + 1] == b"," else -1


def _archive() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    archives = list((Path(found.origin).parent / "_jsii").glob("*.tgz")) if found and found.origin else []
    if len(archives) != 1:
        raise BindingsError("the bindings of the AWS provider are not installed; install cdktn-provider-aws as requirements.lock says")
    return archives[0]


def installed_version() -> str:
    """Name of the installed bindings' archive, version included: what a cached schema is valid for."""
    return _archive().name


def _camel(kind: str) -> str:
    first, *rest = kind.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _pascal(kind: str) -> str:
    camel = _camel(kind)
    return camel[:1].upper() + camel[1:]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda match: f"_{match.group(1).lower()}", name)


def _written_name(declared: dict[str, Any]) -> str:
    """The name in Terraform, from the link to its documentation; the bindings' own names lose underscores before digits."""
    docs = declared.get("docs", {})
    match = _URL.search(f"{docs.get('summary', '')} {docs.get('remarks', '')} ")
    return next(filter(None, match.groups())) if match else _snake(declared["name"])


def _is_block(declared: dict[str, Any]) -> bool:
    return str(declared.get("docs", {}).get("summary", "")).endswith(" block.")


def _chosen(declared: dict[str, Any]) -> dict[str, Any]:
    """Of a union, what is no mere reference to something that is resolved later."""
    kinds: Iterable[dict[str, Any]] = declared["union"]["types"]
    kinds = [kind for kind in kinds if kind.get("fqn") != "cdktn.IResolvable"]
    return next(iter(kinds), {"primitive": "any"})


def _inner(declared: dict[str, Any], types: dict[str, Any]) -> tuple[str | None, bool]:
    """Name of the structure that a property holds, if it holds one, and whether it may hold several."""
    if "union" in declared:
        declared = _chosen(declared)
    many = "collection" in declared
    if many:
        declared = declared["collection"]["elementtype"]
        if "union" in declared:
            declared = _chosen(declared)
    name = str(declared.get("fqn", "")).rpartition(".")[2]
    return (name if name in types else None), many


def _computed(declared: dict[str, Any], block: Block) -> dict[str, Attribute]:
    """Attributes of the class that no configuration sets."""
    found: dict[str, Attribute] = {}
    names = {one["name"] for one in declared.get("properties", ())}
    for one in declared.get("properties", ()):
        written = _snake(one["name"])
        settable = f"{one['name']}Input" in names or one["name"].endswith("Input") or one.get("static")
        if not settable and written not in block.attributes and written not in block.blocks:
            found[written] = Attribute(_computed_type(one["type"]), computed=True)
    return found


def _computed_type(declared: dict[str, Any]) -> Type:
    if "primitive" in declared:
        return _PLAIN[declared["primitive"]]
    if "collection" in declared:
        return [declared["collection"]["kind"].replace("array", "list"), _computed_type(declared["collection"]["elementtype"])]
    name = str(declared.get("fqn", "")).rpartition(".")[2]
    maps = {"StringMap": "string", "BooleanMap": "bool", "NumberMap": "number"}
    return ["map", maps[name]] if name in maps else "dynamic"
