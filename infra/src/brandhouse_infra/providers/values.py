"""Values as Terraform sends them: MessagePack, in which what is not known yet has a mark of its own."""

from collections.abc import Mapping
from typing import Any, Final

import msgpack


class Unknown:
    """A value that is known only after an apply. One object: `value is UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def decode(value: Any) -> Any:
    """Read a DynamicValue as plain values; None is Terraform's null.

    Args:
        value: The message; empty means null.
    """
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, ext_hook=lambda _code, _data: UNKNOWN, raw=False, strict_map_key=False)
    if value.json:
        import json

        return json.loads(value.json)
    return None


def encode(value: Any) -> bytes:
    """Write plain values as MessagePack."""
    return bytes(msgpack.packb(value, default=_mark))


def decode_json(data: bytes) -> Any:
    """Read a state as it was saved."""
    import json

    return json.loads(data) if data else None


def is_known(value: Any) -> bool:
    """Whether nothing in a value is unknown."""
    if value is UNKNOWN:
        return False
    if isinstance(value, Mapping):
        return all(is_known(below) for below in value.values())
    if isinstance(value, list | tuple):
        return all(is_known(below) for below in value)
    return True


def _mark(value: Any) -> Any:
    if value is UNKNOWN:
        return msgpack.ExtType(0, b"\x00")
    raise TypeError(f"{type(value).__name__} cannot be sent to Terraform")
