"""What looks like a secret in a text. Few and sure patterns: a false alarm teaches people to ignore the true one."""

import math
import re
from collections import Counter
from collections.abc import Iterator

_KNOWN = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("an access key of AWS", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a token of GitHub", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b")),
    ("a token of GitLab", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}\b")),
    ("a token of Slack", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b")),
    ("a key of an API", re.compile(r"\b(?:sk|rk)[-_](?:live|proj|ant)[-_][A-Za-z0-9_-]{16,}\b")),
    ("a key of Google", re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("a password in an address", re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'{}$<]+:(?P<value>[^\s/@\"'{}$<]{3,})@")),
)
_ASSIGNED = re.compile(
    r"""(?i)\b[A-Za-z0-9_-]*(?:password|passwd|secret|token|api_?key|access_?key|private_?key)["']?\s*[:=]\s*["'](?P<value>[^"'\s]{8,})["']"""
)
_PLACEHOLDER = re.compile(
    r"(?i)^(?:env:|vault:|\$|<|\{)|example|change_?me|placeholder|your[-_]|xxxx|\*\*\*\*|^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$|^pass(word)?$"
)
_MIN_BITS = 2.8
"""Of entropy a character. A word or a column's name has less, a made-up password or a key more."""


def find_secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield line, column and kind of everything that looks like a secret; never the secret itself."""
    for number, line in enumerate(text.splitlines(), start=1):
        found = _find(line)
        if found:
            yield number, found[0] + 1, found[1]


def _find(line: str) -> tuple[int, str] | None:
    for kind, pattern in _KNOWN:
        match = pattern.search(line)
        if match and not _is_placeholder(match.groupdict().get("value", "")):
            return match.start(), kind
    match = _ASSIGNED.search(line)
    if match and not _is_placeholder(match["value"]) and _bits(match["value"]) >= _MIN_BITS and _is_mixed(match["value"]):
        return match.start(), "a secret"
    return None


def _is_placeholder(value: str) -> bool:
    return bool(value) and _PLACEHOLDER.search(value) is not None


def _is_mixed(value: str) -> bool:
    """Whether it holds a digit and a letter: names of columns and of variables seldom do, keys do."""
    return any(character.isdigit() for character in value) and any(character.isalpha() for character in value)


def _bits(value: str) -> float:
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
