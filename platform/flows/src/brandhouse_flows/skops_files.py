"""Estimators as skops files: audited types only, and the same bytes for the same estimator."""

import io
import json
import zipfile
from typing import Any

from brandhouse_shared.trusted_types import refused_types

SCHEMA_FILE = "schema.json"
FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def dump_skops(estimator: Any, brand: str) -> tuple[bytes, list[str]]:
    """Write an estimator.

    Returns:
        The file's bytes, and the types in it that are not trusted: none, or the file must not be used.
    """
    import skops.io

    content = skops.io.dumps(estimator)
    return _with_fixed_names(content), refused_types(skops.io.get_untrusted_types(data=content), brand)


def _with_fixed_names(content: bytes) -> bytes:
    """Replace what differs between two runs: memory addresses as ids and file names, dates of the archive's members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[Any, int] = {}
    names: dict[str, str] = {}
    schema = _renumber(json.loads(files.pop(SCHEMA_FILE)), numbers, names)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for old, new in names.items():
            if old in files:
                archive.writestr(zipfile.ZipInfo(new, FIXED_DATE), files[old], zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(SCHEMA_FILE, FIXED_DATE), json.dumps(schema), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _renumber(value: Any, numbers: dict[Any, int], names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renumber(one, numbers, names) for one in value]
    if not isinstance(value, dict):
        return value
    renumbered = {}
    for key, one in value.items():
        if key == "__id__":
            one = numbers.setdefault(one, len(numbers) + 1)
        elif key == "file" and isinstance(one, str):
            suffix = one.rpartition(".")[2]
            one = names.setdefault(one, f"{len(names) + 1}.{suffix}")
        elif key == "_stop_words_id" and isinstance(one, dict):  # an address too, of a vectorizer's stop words
            one = {**one, "content": "0", "__id__": numbers.setdefault(one.get("__id__"), len(numbers) + 1)}
        else:
            one = _renumber(one, numbers, names)
        renumbered[key] = one
    return renumbered
