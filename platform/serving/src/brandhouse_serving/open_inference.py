"""The Open Inference Protocol (version 2, REST) as a dialect: `POST /v2/models/{brand}.{model}[/versions/{version}]/infer`.

Existing clients of Triton, KServe and MLServer speak it. Tensors come and go as JSON; the binary extension is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from brandhouse_serving.bodies import check_headers, parse_json, refuse_repeated_keys
from brandhouse_serving.dialects import Call
from brandhouse_serving.open_inference_tensors import is_parameters, output_names, output_tensors, rows_of
from brandhouse_serving.problems import Headers, RequestRefusedError, problem_of
from brandhouse_serving.replies import Reply
from brandhouse_serving.router import Route
from brandhouse_serving.slots import Slot
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, InvalidNameError, join_bounded
from brandhouse_shared.names import parse_version

BINARY_HEADER = b"inference-header-content-length"

_REQUEST_KEYS = frozenset(("inputs", "id", "outputs", "parameters"))


class OpenInference:
    """The dialect; see `dialects.Dialect` for what each method does."""

    explains = False

    def find_call(self, path: bytes) -> Call | None:
        """See `Dialect.find_call`."""
        parts = path.split(b"/")
        if parts[2] != b"models" or parts[-1] != b"infer":
            return None
        if len(parts) == 5:
            return _call(parts[3], None)
        return _call(parts[3], parts[5].decode("latin-1")) if len(parts) == 7 and parts[4] == b"versions" else None

    def check_headers(self, call: Call) -> None:
        """See `Dialect.check_headers`. Triton's client names no content type, which is JSON here."""
        if BINARY_HEADER in call.headers:
            message = "binary tensors are not taken; send the values as JSON (with Triton's client: binary_data=False)"
            raise RequestRefusedError(415, "unsupported_media_type", message)
        headers = call.headers if b"content-type" in call.headers else {**call.headers, b"content-type": b"application/json"}
        check_headers(headers, call.max_body_bytes)

    def rows_of(self, call: Call, route: Route) -> Sequence[Any]:
        """See `Dialect.rows_of`."""
        slot = served_slot(route, call.version)
        document = _checked(parse_json(call.body), output_names(route.config.task))
        contract = slot.loaded.contract if slot.loaded is not None else Contract(route.config.inputs)
        rows = rows_of(document.get("inputs"), contract.listed_codes, route.config.serving.max_rows)
        refuse_repeated_keys(call.body, _count_keys(document))
        call.document = document
        return rows

    def rows_json(self, call: Call) -> bytes | None:
        """See `Dialect.rows_json`. The body has columns."""
        return None

    def answer_of(self, reply: Reply, ids: Sequence[str], call: Call) -> bytes:
        """See `Dialect.answer_of`."""
        manifest, document = reply.loaded.manifest, call.document
        wanted = [output["name"] for output in document.get("outputs") or ()] or output_names(manifest.task)
        key = reply.loaded.key
        answer: dict[str, Any] = {"model_name": key.model_key.dotted, "model_version": f"v{key.number}"}
        if document.get("id") is not None:
            answer["id"] = document["id"]
        answer["outputs"] = output_tensors(reply, ids, wanted)
        return orjson.dumps(answer)

    def problem_of(self, error: BrandhouseError) -> tuple[int, Headers, bytes]:
        """See `Dialect.problem_of`."""
        return build_protocol_problem(error)


class UnservedVersionError(RequestRefusedError):
    """A version was asked for that does not answer requests now."""

    def __init__(self, route: Route, text: str) -> None:
        listed = join_bounded(f"v{number}" for number in served_slots(route))
        super().__init__(404, "unknown_version", f"{route.key} does not answer with version {text[:20]!r}; versions that answer: {listed}")


def served_slots(route: Route) -> dict[int, Slot]:
    """The versions that may be asked for by their number: the one in production and the canary.

    No earlier one: a client that went on asking for it would undo a rollback for itself.
    """
    canary = route.trial.canary if route.trial is not None else None
    slots = [route.production] if canary is None else [route.production, canary.slot]
    return {slot.version.key.number: slot for slot in slots}


def served_slot(route: Route, version: str | None) -> Slot:
    """The version asked for by `v7` or `7`; None: the one in production.

    Raises:
        UnservedVersionError: If it is no version that answers now.
    """
    if version is None:
        return route.production
    try:
        return served_slots(route)[parse_version(version)]
    except (InvalidNameError, KeyError):
        raise UnservedVersionError(route, version) from None


def build_protocol_problem(error: BrandhouseError) -> tuple[int, Headers, bytes]:
    """Status and headers as everywhere, the body in the protocol's shape: `{"error": "..."}`."""
    problem = problem_of(error)
    details = "; ".join(violation.replace("instances[", "rows[", 1) for violation in problem.violations)
    return problem.status, problem.headers, build_protocol_body(f"{problem.message}: {details}" if details else problem.message)


def build_protocol_body(message: str) -> bytes:
    """The body of every error under `/v2`."""
    return orjson.dumps({"error": message})


def _call(name: bytes, version: str | None) -> Call:
    """A name without a dot is a brand of that name and no model: it is answered as any other that is not the caller's."""
    brand, _, model = name.decode("latin-1").partition(".")
    return Call(brand, model, version)


def _checked(document: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Check everything but the tensors.

    Raises:
        ContractViolationError: Naming what is not of the protocol's form.
    """
    if not isinstance(document, dict):
        raise ContractViolationError("request", ['body: allowed: an object {"inputs": [...]}'])
    violations = []
    if not document.keys() <= _REQUEST_KEYS:
        extra = join_bounded(sorted(key[:80] for key in document.keys() - _REQUEST_KEYS), 5)
        violations.append(f"body: unknown field {extra}; allowed: id, parameters, inputs, outputs")
    if not isinstance(document.get("id"), str | None):
        violations.append("id: allowed: a text")
    if not is_parameters(document.get("parameters")):
        violations.append("parameters: allowed: an object")
    if document.get("outputs") is not None:
        violations += _faults_of_outputs(document["outputs"], names)
    if violations:
        raise ContractViolationError("request", violations)
    return document


def _faults_of_outputs(outputs: Any, names: Sequence[str]) -> list[str]:
    allowed = f"allowed: a list of {{name}}, each once; names: {', '.join(names)}"
    if not isinstance(outputs, list):
        return [f"outputs: {allowed}"]
    faults = [f"outputs[{index}]: {allowed}" for index, output in enumerate(outputs[:20]) if not _is_output(output, names)]
    given = [output["name"] for output in outputs if _is_output(output, names)]
    return faults or ([f"outputs: a name given more than once; {allowed}"] if len(set(given)) < len(outputs) else [])


def _is_output(output: Any, names: Sequence[str]) -> bool:
    return (
        isinstance(output, dict)
        and output.get("name") in names
        and output.keys() <= {"name", "parameters"}
        and is_parameters(output.get("parameters"))
    )


def _count_keys(document: Mapping[str, Any]) -> int:
    """How many keys all objects of a request have; the data of its tensors are known to hold none."""
    inputs = document["inputs"]
    count = len(document) + sum(map(len, inputs))
    waiting = [document.get("parameters"), document.get("outputs"), *(tensor["parameters"] for tensor in inputs if "parameters" in tensor)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            count += len(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return count
