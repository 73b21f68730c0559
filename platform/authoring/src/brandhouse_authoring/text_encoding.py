"""Which encoding the bytes of a text file are in."""

import codecs
from itertools import pairwise

DEFAULT_ENCODING = "utf-8-sig"
"""What a dataset is read with unless it says otherwise: UTF-8, with or without a byte-order mark."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, DEFAULT_ENCODING),
)
_WESTERN = ("cp1252", "latin-1", "mac-roman", "cp850")
"""In the order in which a tie is decided."""

_USUAL = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýßœÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒ€£§°²³µ½·–—‘’“”„…«»©®™ \N{NO-BREAK SPACE}")
"""What the texts of western Europe hold beyond ASCII; a wrong decoding yields other signs."""

_USUAL_SHARE = 0.6
"""Of the signs beyond ASCII; with fewer usual ones the text is of another part of the world."""


_FOREIGN_SHARE = 0.4


def guess_encoding(content: bytes) -> str:
    """Name the encoding as Python does; UTF-8 wherever the bytes are UTF-8.

    Args:
        content: The file, or its beginning. It may end within a character.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    if b"\0" in content[:4096]:
        # ASCII letters in UTF-16 have their zero second where the low byte comes first.
        return "utf-16-le" if content[1:4096:2].count(0) >= content[0:4096:2].count(0) else "utf-16-be"
    if _is_utf8(content):
        return DEFAULT_ENCODING
    shares = {encoding: _usual_share(content, encoding) for encoding in _WESTERN}
    if _foreign_share(content) > _FOREIGN_SHARE:
        return _elsewhere(content, "cp1252")
    best = max(shares, key=lambda encoding: shares[encoding])
    return best if shares[best] >= _USUAL_SHARE else _elsewhere(content, best)


def _is_utf8(content: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return False
    return True


def _usual_share(content: bytes, encoding: str) -> float:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return -1.0
    beyond = [(before, sign) for before, sign in pairwise(" " + text) if sign > "\x7f"]
    # A capital right after a small letter comes from a wrong decoding, usual as it may be.
    return sum(sign in _USUAL and not (before.islower() and sign.isupper()) for before, sign in beyond) / max(1, len(beyond))


def _foreign_share(content: bytes) -> float:
    """Share of the letters that are beyond ASCII; where it is large, the alphabet is another one."""
    beyond = sum(byte > 127 for byte in content)
    return beyond / max(1, beyond + sum(bytes((byte,)).isalpha() for byte in content))


def _elsewhere(content: bytes, fallback: str) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(content[: 1 << 16]).best()
    return fallback if best is None or best.encoding == "ascii" else best.encoding
