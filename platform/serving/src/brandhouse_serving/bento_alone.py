"""What a Bento runs when it serves alone: `bentoml serve`, or a container made of it. No gateway, no ledger, no log.

It loads one version, checks requests as the gateway does and answers in the same shape, without `prediction_ids`: nothing
is logged, so there is nothing that a label could be joined to. This file and what it imports are copied into each Bento.
"""

import asyncio
import ipaddress
import logging
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from brandhouse_serving.bento_service import PREDICT_PATH, Answer, AsgiApp, Asked, Send, accept, build_service, send_problem
from brandhouse_serving.bodies import ClientGoneError, Receive, read_headers
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.problems import JSON_TYPE, RequestRefusedError, build_problem
from brandhouse_serving.scores import Scores, check_scores, predictions_of
from brandhouse_shared.answering import load_predictor
from brandhouse_shared.artifacts import Manifest, Runtime, folder_digest, read_manifest
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError, ForbiddenError, UnauthenticatedError
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey, VersionKey

KEY_VARIABLE = "BRANDHOUSE_BENTO_KEY_HASH"
OPEN_VARIABLE = "BRANDHOUSE_BENTO_OPEN"
CONTAINER_VARIABLE = "BENTOML_CONTAINERIZED"
"""Set by the Dockerfile that BentoML writes. In a container the service listens on all addresses, or nobody would reach it."""

FREE_PATHS = ("/livez", "/readyz", "/healthz")
"""What is answered to everybody: whether the process lives."""

INLINE_ROWS = 64
"""Up to so many rows a compiled version is asked on the event loop, as in the gateway."""

logger = logging.getLogger(__name__)


class BentoFacts(BaseModel):
    """`bento.json`: which version this Bento serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brand: str
    model: str
    version: int
    digest: str
    """Of the artifact, whose bytes are checked when the service starts."""
    model_tag: str
    """BentoML's tag of the artifact."""
    max_rows: int
    """Rows a request, as declared when the Bento was built."""

    @property
    def key(self) -> VersionKey:
        """The version."""
        return VersionKey(self.brand, self.model, self.version)


def build_alone(facts_file: Path) -> Any:
    """Build the BentoML service that serves one version alone.

    Raises:
        BrandhouseError: If the environment names a key's hash that is none.
    """
    facts = BentoFacts.model_validate_json(facts_file.read_bytes())
    door = Door(os.environ)
    key = ModelKey(facts.brand, facts.model)
    service = build_service(key, lambda: LoneModel(facts, _model_folder(facts)).ask, http={"host": door.host})
    service.add_asgi_middleware(Guard, door=door, max_rows=facts.max_rows)
    return service


def _model_folder(facts: BentoFacts) -> Path:
    from bentoml.models import BentoModel

    return Path(BentoModel(facts.model_tag).resolve().path)


class Door:
    """Who may call. Without a key only this machine; with one, its holder from anywhere; or everybody, if that is said."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._hashes = [text.strip().lower().encode() for text in environment.get(KEY_VARIABLE, "").split(",") if text.strip()]
        if any(not re.fullmatch(rb"[0-9a-f]{64}", one) for one in self._hashes):
            raise BrandhouseError(
                f"{KEY_VARIABLE} holds no SHA-256; make one with `printf %s KEY | sha256sum`, several with commas between"
            )
        self._is_open = environment.get(OPEN_VARIABLE) == "1"
        self.is_container = environment.get(CONTAINER_VARIABLE) == "true"

    @property
    def host(self) -> str:
        """The address to listen on if the command names none."""
        return "0.0.0.0" if self.is_container else "127.0.0.1"  # noqa: S104  # a container's own network, with a key asked for

    def admit(self, headers: Mapping[bytes, bytes], client: Sequence[Any] | None) -> None:
        """Let a request in.

        Raises:
            UnauthenticatedError: If a key is needed and it is missing or wrong.
            ForbiddenError: If no key was set up and the caller is another machine.
        """
        if self._hashes:
            self._check_key(headers.get(b"authorization", b""))
        elif not self._is_open and not _is_this_machine(headers, client):
            raise ForbiddenError(
                f"this Bento has no key and answers its own machine only; set {KEY_VARIABLE} to the SHA-256 of a key, "
                f"or {OPEN_VARIABLE}=1 if something in front of it checks callers"
            )

    def _check_key(self, authorization: bytes) -> None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise UnauthenticatedError("no API key; send it as `Authorization: Bearer KEY`")
        found = sha256(token.strip()).hexdigest().encode()
        if not any([compare_digest(found, one) for one in self._hashes]):  # noqa: C419  # all are compared: the time tells nothing
            raise UnauthenticatedError("unknown API key")


def _is_this_machine(headers: Mapping[bytes, bytes], client: Sequence[Any] | None) -> bool:
    """Whether the caller is on this machine and no proxy that stands for others."""
    if client is None or any(name in headers for name in (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware before BentoML's routes: who may call, and what a body may be."""

    def __init__(self, app: AsgiApp, *, door: Door, max_rows: int) -> None:
        self._app = app
        self._door = door
        self._max_rows = max_rows

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http" or scope["path"] in FREE_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            headers = read_headers(scope["headers"])
            self._door.admit(headers, scope.get("client"))
            if scope["method"] not in ("GET", "HEAD"):
                receive = await self._accept(scope, headers, receive)
        except ClientGoneError:
            return
        except BrandhouseError as error:
            await send_problem(send, error)
            return
        await self._app(scope, receive, send)

    async def _accept(self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        if scope["path"] != PREDICT_PATH:
            raise RequestRefusedError(404, "not_found", f"there is no such call; predictions are asked for with POST {PREDICT_PATH}")
        if scope["method"] != "POST":
            raise RequestRefusedError(405, "method_not_allowed", "predictions are asked for with POST")
        return await accept(headers, receive, self._max_rows)


class LoneModel:
    """One loaded version."""

    def __init__(self, facts: BentoFacts, folder: Path) -> None:
        """Load it.

        Raises:
            ArtifactCorruptError: If its bytes are not those that were registered.
        """
        if folder_digest(folder) != facts.digest:
            raise ArtifactCorruptError(facts.key, "the model's bytes are not those that were registered")
        self._key = facts.key
        self._manifest: Manifest = read_manifest(folder)
        self._contract: Contract = self._manifest.contract
        self._predictor = load_predictor(folder, self._manifest)

    async def ask(self, rows: Sequence[Any], _: Asked) -> Answer:
        """Answer; a model that fails is answered for by its constant, and a header says so."""
        try:
            columns = self._contract.parse_rows(rows)
        except BrandhouseError as error:
            return build_problem(error)
        try:
            return 200, [JSON_TYPE], self._document(await self._scores(columns))
        except VersionFailedError as failure:
            logger.error("%s", failure)
            fallback = (b"x-brandhouse-fallback", f"baseline; {failure.reason}".encode())
            return 200, [JSON_TYPE, fallback], self._document(self._constant(len(rows)))

    async def _scores(self, columns: Mapping[str, list[Any]]) -> Scores:
        if self._manifest.runtime is not Runtime.PYTHON and len(next(iter(columns.values()))) <= INLINE_ROWS:
            return self._predict(columns)
        return await asyncio.to_thread(self._predict, columns)

    def _predict(self, columns: Mapping[str, list[Any]]) -> Scores:
        try:
            scores: Scores = self._predictor.predict(columns).tolist()
        except Exception as error:  # brand code or a graph may fail in any way; the constant answers
            raise VersionFailedError(self._key, "runtime failed", type(error).__name__) from error
        return check_scores(scores, str(self._key))

    def _constant(self, count: int) -> Scores:
        constant = self._manifest.constant
        score: Any = constant[0] if self._manifest.task is Task.REGRESSION else list(constant)
        return [score] * count

    def _document(self, scores: Scores) -> bytes:
        predictions, probabilities = predictions_of(self._manifest, scores)
        document: dict[str, Any] = {"model": str(self._key), "predictions": predictions}
        if probabilities is not None:
            names = [str(label) for label in self._manifest.classes]
            document["probabilities"] = [dict(zip(names, shares, strict=True)) for shares in probabilities]
        return orjson.dumps(document)
