"""Whole messages over a pipe: a length and so many bytes."""

import struct
from typing import IO

HEAD = struct.Struct("!Q")


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Read what `write_frame` wrote from an unbuffered stream; None at its end."""
    head = _read_exactly(stream, HEAD.size)
    return None if head is None else _read_exactly(stream, HEAD.unpack(head)[0])


def write_frame(stream: IO[bytes], content: bytes) -> None:
    """Write a message to an unbuffered stream."""
    for part in (HEAD.pack(len(content)), content):
        rest = memoryview(part)
        while rest:
            rest = rest[stream.write(rest) :]


def _read_exactly(stream: IO[bytes], count: int) -> bytes | None:
    parts: list[bytes] = []
    while count and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return None if count else b"".join(parts)
