"""What a probe is, and the ones of the HTTP calls: each is tried by every brand against every other.

A denial means something only beside what is allowed: each probe also makes the same request for the caller's own brand. If
that is not answered, nothing was tried.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from brandhouse_console.isolation_world import Answer, World

Outcome = Literal["denied", "allowed", "not tried", "known", "absent"]
"""known: allowed, and written down as not built yet; absent: there is nothing that could be reached."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one attempt ended.

    Attributes:
        detail: Why, unless it was denied.
    """

    outcome: Outcome
    detail: str = ""


DENIED = Finding("denied")


class Probe(Protocol):
    """Tries one surface."""

    def control(self, world: World, brand: str) -> str:
        """Do what is allowed; return what went wrong, or nothing."""

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """Try what must be denied."""


@dataclass(frozen=True, slots=True)
class NamedCall:
    """A call whose path names a brand: for another one it is 403, in the same words whether that brand exists or not.

    Attributes:
        path: With `{brand}`, `{model}` and `{version}`.
        body: What is sent, of a row.
    """

    method: str
    path: str
    body: Callable[[Mapping[str, Any]], Any] | None = None

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        answer = world.client.call_patiently(*self._request(world, brand, brand))
        return "" if answer.status == 200 else f"{brand}'s own request was answered with {answer.status}"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        answer = world.client.call(*self._request(world, attacker, victim))
        if answer.status < 400:
            return Finding("allowed", f"answered with {answer.status}")
        nobody = world.client.call(*self._request(world, attacker, victim, named="nobody_of_that_name"))
        if answer.status != 403 or not _alike(answer, nobody):
            return Finding(
                "allowed", f"{answer.status} for {victim}, {nobody.status} for a brand that does not exist: they can be told apart"
            )
        return DENIED

    def _request(self, world: World, caller: str, victim: str, named: str = "") -> tuple[str, str, str, Any]:
        key, version = world.model(victim), world.versions[victim].number
        path = self.path.replace("{brand}", named or key.brand).replace("{model}", key.model).replace("{version}", f"v{version}")
        return self.method, path, world.keys[caller], self.body(world.rows[victim]) if self.body else None


def _alike(one: Answer, other: Answer) -> bool:
    names = ({name for name in answer.headers if name != "date"} for answer in (one, other))
    return (one.status, one.body) == (other.status, other.body) and next(names) == next(names)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose path names nobody: with the caller's key, and without one, its answer may hold nothing of another brand.

    Attributes:
        path: Of the call.
        of_caller: Whether the answer holds the caller's own models, so that "nothing of others" means something.
    """

    path: str
    of_caller: bool = False

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        answer = world.client.call_patiently("GET", self.path, world.keys[brand])
        if answer.status != 200:
            return f"{brand}'s own request was answered with {answer.status}"
        missing = self.of_caller and not _mentions(answer.body.decode(), brand, world.model(brand).model)
        return f"the answer does not hold {brand}'s own models" if missing else ""

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        # Without a key this machine itself may read all metrics: a proxy's header makes the caller one from outside.
        for key in (world.keys[attacker], None):
            answer = world.client.call("GET", self.path, key, X_Forwarded_For="192.0.2.1")
            if answer.status == 200 and _mentions(answer.body.decode(errors="replace"), victim, world.model(victim).model):
                return Finding("allowed", f"the answer {'with' if key else 'without'} a key names {victim}")
        return DENIED


def _mentions(text: str, brand: str, model: str) -> bool:
    name = re.escape(brand)
    return re.search(rf'/{name}/|[/"]{name}\.{re.escape(model)}\b|brand="{name}"|"{name}"', text) is not None


@dataclass(frozen=True, slots=True)
class PathTricks:
    """Spellings by which one brand's path may end at another's."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        answer = world.client.call_patiently("GET", f"/v1/{brand}/models", world.keys[brand])
        return "" if answer.status == 200 else f"{brand}'s own request was answered with {answer.status}"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        for path in _spellings(attacker, victim):
            answer = world.client.call("GET", path, world.keys[attacker])
            if answer.status < 400 and _mentions(answer.body.decode(errors="replace"), victim, world.model(victim).model):
                return Finding("allowed", f"GET {path} was answered with {answer.status}")
        return DENIED


def _spellings(attacker: str, victim: str) -> list[str]:
    return [
        f"/v1/{attacker}/../{victim}/models",
        f"/v1/{attacker}/%2e%2e/{victim}/models",
        f"/v1/{attacker}%2f..%2f{victim}/models",
        f"/v1//{victim}/models",
        f"/v1/{victim.upper()}/models",
        f"/v1/{victim}%00{attacker}/models",
        f"/v1/{attacker};{victim}/models",
        f"/v1/%{ord(victim[0]):02x}{victim[1:]}/models",
        f"/v2/models/{attacker}.x%2f..%2f{victim}.x",
        f"/bento/{attacker}/..%2f{victim}/schema.json",
    ]


@dataclass(frozen=True, slots=True)
class ForeignPrediction:
    """Feedback on the caller's own path, with the id of another brand's prediction and a label that its own model takes."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        mine, label = _predicted(world, brand)
        answer = self._label(world, brand, mine, label)
        return "" if answer.status == 200 else f"{brand}'s label of its own prediction was answered with {answer.status}"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        theirs, _ = _predicted(world, victim)
        _, label = _predicted(world, attacker)
        if not theirs:
            return Finding("not tried", f"{victim} gets no prediction")
        answer, unknown = self._label(world, attacker, theirs, label), self._label(world, attacker, _unknown(theirs), label)
        return (
            DENIED if answer.status in (403, 404, 422) and unknown.status >= 400 else Finding("allowed", f"answered with {answer.status}")
        )

    @staticmethod
    def _label(world: World, brand: str, prediction_id: str, label: Any) -> Answer:
        path, body = f"/v1/{world.model(brand)}/feedback", {"prediction_id": prediction_id, "label": label}
        return world.client.call_patiently("POST", path, world.keys[brand], body)


def _unknown(prediction_id: str) -> str:
    """An id of the same form that nobody has."""
    return prediction_id[:-1] + ("0" if prediction_id[-1] != "0" else "1")


def _predicted(world: World, brand: str) -> tuple[str, Any]:
    """Id and value of a fresh prediction; an empty id if there is none."""
    answer = world.client.call_patiently("POST", f"/v1/{world.model(brand)}/predict", world.keys[brand], _instances(world.rows[brand]))
    if answer.status != 200:
        return "", None
    return str(answer.document["prediction_ids"][0]), answer.document["predictions"][0]


@dataclass(frozen=True, slots=True)
class ProvenanceOf:
    """Where another brand's prediction came from: on its own path 403, on the caller's path unknown like an id that nobody has."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        mine, _ = _predicted(world, brand)
        answer = self._ask(world, brand, brand, mine)
        is_own = answer.status == 200 and answer.document["prediction_id"] == mine
        return "" if is_own else f"{brand}'s question about its own prediction was answered with {answer.status}"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        theirs, _ = _predicted(world, victim)
        if not theirs:
            return Finding("not tried", f"{victim} gets no prediction")
        on_their_path = self._ask(world, attacker, victim, theirs)
        nobody = self._ask(world, attacker, "nobody_of_that_name", theirs)
        if on_their_path.status != 403 or not _alike(on_their_path, nobody):
            return Finding("allowed", f"{on_their_path.status} on the path of {victim}, {nobody.status} on that of no brand")
        on_own_path, unknown = self._ask(world, attacker, attacker, theirs), self._ask(world, attacker, attacker, _unknown(theirs))
        if on_own_path.status != 404 or not _alike(on_own_path, unknown):
            return Finding("allowed", f"{on_own_path.status} for an id of {victim}, {unknown.status} for one that nobody has")
        return DENIED

    @staticmethod
    def _ask(world: World, caller: str, brand: str, prediction_id: str) -> Answer:
        return world.client.call_patiently("GET", f"/v1/{brand}/predictions/{prediction_id}", world.keys[caller])


@dataclass(frozen=True, slots=True)
class Caches:
    """One brand asks right after another: what it gets is from its own version."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if self._is_own(world, brand) else f"{brand} gets no prediction of its own"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        _predicted(world, victim)
        return DENIED if self._is_own(world, attacker) else Finding("allowed", "the answer is another brand's")

    @staticmethod
    def _is_own(world: World, brand: str) -> bool:
        return _predicted(world, brand)[0].startswith(f"{brand}.")


def _instances(row: Mapping[str, Any]) -> Any:
    return {"instances": [row]}


def _tensors(row: Mapping[str, Any]) -> Any:
    return {"inputs": [{"name": name, "shape": [1, 1], "datatype": _datatype(value), "data": [value]} for name, value in row.items()]}


def _datatype(value: Any) -> str:
    return {bool: "BOOL", int: "INT64", float: "FP64"}.get(type(value), "BYTES")


_NO_LABEL = {"prediction_id": "x", "label": 1}


@dataclass(frozen=True, slots=True)
class Feedback(NamedCall):
    """Feedback on another brand's path. Allowed is an answer about the id: that it is none."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        answer = world.client.call_patiently(*self._request(world, brand, brand))
        return "" if answer.status in (200, 400, 404, 422) else f"{brand}'s own request was answered with {answer.status}"


_V2 = "/v2/models/{brand}.{model}"
_BENTO = "/bento/{brand}/{model}"

CALL_PROBES: Mapping[str, Probe] = {
    "lane /v1/": NamedCall("POST", "/v1/{brand}/{model}/predict", _instances),
    "lane /v2/": NamedCall("POST", f"{_V2}/infer", _tensors),
    "GET /v1/{brand}/models": NamedCall("GET", "/v1/{brand}/models"),
    "POST /v1/{brand}/{model}/feedback": Feedback("POST", "/v1/{brand}/{model}/feedback", lambda _: _NO_LABEL),
    "GET /v1/{brand}/predictions/{prediction_id}": ProvenanceOf(),
    "GET /v2/models/{name}": NamedCall("GET", _V2),
    "GET /v2/models/{name}/ready": NamedCall("GET", f"{_V2}/ready"),
    "GET /v2/models/{name}/versions/{version}": NamedCall("GET", f"{_V2}/versions/{{version}}"),
    "GET /v2/models/{name}/versions/{version}/ready": NamedCall("GET", f"{_V2}/versions/{{version}}/ready"),
    "POST /bento/{brand}/{model}/predict": NamedCall("POST", f"{_BENTO}/predict", _instances),
    "GET /bento/{brand}/{model}/schema.json": NamedCall("GET", f"{_BENTO}/schema.json"),
    "GET /bento/{brand}/{model}/docs.json": NamedCall("GET", f"{_BENTO}/docs.json"),
    "GET /bento/{brand}/{model}/livez": NamedCall("GET", f"{_BENTO}/livez"),
    "GET /bento/{brand}/{model}/readyz": NamedCall("GET", f"{_BENTO}/readyz"),
    "GET /healthz": OpenCall("/healthz"),
    "GET /readyz": OpenCall("/readyz"),
    "GET /metrics": OpenCall("/metrics", of_caller=True),
    "GET /docs": OpenCall("/docs"),
    "GET /openapi.json": OpenCall("/openapi.json", of_caller=True),
    "GET /v2": OpenCall("/v2"),
    "GET /v2/": OpenCall("/v2/"),
    "GET /v2/health/live": OpenCall("/v2/health/live"),
    "GET /v2/health/ready": OpenCall("/v2/health/ready"),
}
"""A call of the gateway, as `isolation_surfaces` names it, to its probe."""

CROSS_PROBES: Mapping[str, Probe] = {
    "spellings of paths": PathTricks(),
    "prediction ids": ForeignPrediction(),
    "caches": Caches(),
}
"""Ways across several calls."""
