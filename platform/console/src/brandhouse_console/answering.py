"""`serve` and `predict`."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from brandhouse_console.output import print_json
from brandhouse_console.targets import find_model
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError, UnknownVersionError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings


def serve(brands: Sequence[str], *, host: str, port: int, workers: int | None) -> None:
    """Answer predictions until SIGTERM or Ctrl-C."""
    import logging

    from brandhouse_serving.main import run

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(load_settings(), brands or None, host, port, workers)


def predict(target: str, *, instance: str | None, sample: int | None, url: str | None) -> None:
    """Print the API's answer for given instances, or for held-out rows together with their truth.

    Args:
        target: `BRAND/MODEL`.
        instance: JSON of one instance or a list of them; `-` reads standard input. None: `sample` says what to ask.
        sample: How many held-out rows to ask.
        url: A gateway to ask instead of answering here.
    """
    settings = load_settings()
    brand, key = find_model(settings, target)
    if instance is not None:
        print_json(_answer(settings, key, _read_instances(instance), url))
        return
    rows = _held_out(settings, brand, key, sample or 1)
    answer = _answer(settings, key, [row.instance for row in rows], url)
    print_json(answer | {"truth": [row.truth for row in rows]})


def _held_out(settings: Settings, brand: Brand, key: ModelKey, count: int) -> list[Any]:
    from brandhouse_flows.holdouts import sample_holdout

    version = open_ledger(settings.ledger_url.get_secret_value()).production(key)
    if version is None:
        raise UnknownVersionError(key, "in production; promote one first", [])
    return sample_holdout(settings, brand, version, count)


def _read_instances(text: str) -> list[Any]:
    try:
        document = json.loads(text if text != "-" else sys.stdin.read())
    except ValueError as error:
        raise BrandhouseError(
            f"--json is no valid JSON: {error}; allowed: one object, or a list of objects; - reads standard input"
        ) from None
    return document if isinstance(document, list) else [document]


def _answer(settings: Settings, key: ModelKey, instances: list[Any], url: str | None) -> dict[str, Any]:
    if url is not None:
        return _ask(url, key, instances)
    from brandhouse_serving.local import predict_here

    return asyncio.run(predict_here(settings, key, instances))


def _ask(url: str, key: ModelKey, instances: list[Any]) -> dict[str, Any]:
    plain = os.environ.get("BRANDHOUSE_KEY")
    if not plain:
        raise BrandhouseError(f"set BRANDHOUSE_KEY to a key of {key.brand}; create one with `brandhouse keys create {key.brand}`")
    if not url.startswith(("http://", "https://")):
        raise BrandhouseError(f"{url[:80]!r} is no address of a gateway; allowed: http://... or https://...")
    headers = {"Authorization": f"Bearer {plain}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url.rstrip('/')}/v1/{key}/predict", json.dumps({"instances": instances}).encode(), headers)  # noqa: S310 - an HTTP address of our own
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - an HTTP address of our own
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise BrandhouseError(f"{url} answered {error.code}: {error.read(2000).decode(errors='replace')}") from None
    except urllib.error.URLError as error:
        raise BrandhouseError(f"{url} cannot be reached: {error.reason}") from None
