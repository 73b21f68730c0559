"""What a caller asks of one run beside what the brand declares: another estimator, other params, a part of the rows, no version.

Wishes for an estimator or params change the declaration that the run sees, and by it the run's fingerprint: the same
wishes on the same inputs are recognised, others are trained.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomli

from brandhouse_shared.brands import ModelCode
from brandhouse_shared.config import Candidate, ModelConfig, Scalar
from brandhouse_shared.errors import BrandhouseError, EntrypointError, join_bounded
from brandhouse_shared.ledger.records import RunKind

MIN_SAMPLE_ROWS = 10
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_WORD = re.compile(r"^[A-Za-z_][A-Za-z0-9_.\-]*$")
_MISSPELT = {"True": "true", "False": "false", "TRUE": "true", "FALSE": "false"}


class WishError(BrandhouseError):
    """A wish that cannot be fulfilled: an unknown estimator or param, or a value that cannot be read."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of one run. The default asks for nothing: the run is what the brand declares.

    Attributes:
        estimator: Name of the one candidate to train; empty: all that are declared.
        params: Params that replace declared ones; they are not searched any more.
        sample: Training rows to learn from, as a number of rows (from 1) or a share (below 1); None: all.
        dry: Train and judge, and register nothing. A sample is always dry.
    """

    estimator: str = ""
    params: Mapping[str, Scalar] = field(default_factory=dict)
    sample: float | None = None
    dry: bool = False

    @property
    def kind(self) -> RunKind:
        """How the ledger calls such a run."""
        if self.sample is not None:
            return "sample"
        return "dry" if self.dry else "full"

    @property
    def may_register(self) -> bool:
        """Whether a version may come of it. A model that saw a part of the rows must not be promoted by mistake."""
        return self.kind == "full"

    def as_parameters(self) -> dict[str, str | bool]:
        """The wishes as parameters of the `train` flow; what is not asked for is left out."""
        params = "\n".join(f"{name}={json.dumps(value)}" for name, value in self.params.items())
        sample = "" if self.sample is None else repr(self.sample)
        asked: dict[str, str | bool] = {"estimator": self.estimator, "params": params, "sample": sample, "dry_run": self.dry}
        return {name: value for name, value in asked.items() if value}

    def as_document(self, model: ModelConfig) -> dict[str, Any]:
        """The wishes, and the candidates that are tried because of them, as plain values for the ledger."""
        tried = {name: candidate.model_dump(mode="json", exclude_defaults=True) for name, candidate in model.candidates.items()}
        asked = {"estimator": self.estimator, "params": dict(self.params), "sample": self.sample}
        return {"candidates": tried} | {name: value for name, value in asked.items() if value}


def read_wishes(params: Sequence[str] = (), estimator: str = "", sample: str = "", *, dry: bool = False) -> Wishes:
    """Read wishes as a person types them.

    Args:
        params: `name=value` each; the value as in TOML, where a bare word may stand for a text.
        estimator: Name of a candidate.
        sample: A number of rows, such as `500`, or a share, such as `0.2`; empty: all rows.
        dry: Register nothing.

    Raises:
        WishError: If one cannot be read; it names all that cannot.
    """
    problems: list[str] = []
    read: dict[str, Scalar] = {}
    for text in params:
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            read[name] = _read_param(text, name, value)
        except WishError as error:
            problems.append(str(error))
    if problems:
        raise WishError("; ".join(problems))
    return Wishes(estimator.strip(), read, _read_sample(sample.strip()), dry)


def _read_param(text: str, name: str, value: str) -> Scalar:
    if not _NAME.fullmatch(name) or not value:
        raise WishError(f"{text[:60]!r} is no param; allowed: name=value, such as max_depth=6")
    if value in _MISSPELT:
        raise WishError(f"{name}: {value} is no TOML value; write {_MISSPELT[value]}")
    try:
        found = tomli.loads(f"value = {value}")
    except tomli.TOMLDecodeError:
        if _WORD.fullmatch(value) and value not in ("None", "null"):
            return value
        raise WishError(f"{name}: {value[:40]!r} is no TOML value; allowed: 6, 0.05, true, word, or '\"a text\"' (in quotes)") from None
    if list(found) != ["value"] or not isinstance(found["value"], str | int | float | bool):
        raise WishError(f"{name}: {value[:40]!r} is no single value; allowed: a number, true, false or a text")
    scalar: Scalar = found["value"]
    return scalar


def _read_sample(text: str) -> float | None:
    if not text:
        return None
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if 0 < size < 1 or (size >= MIN_SAMPLE_ROWS and size.is_integer()):
        return size
    raise WishError(f"sample: {text[:40]!r} is no part of the rows; allowed: rows from {MIN_SAMPLE_ROWS}, or a share such as 0.2")


def apply_wishes(model: ModelConfig, wishes: Wishes, subject: str) -> ModelConfig:
    """Return the declaration that a run with these wishes follows.

    Raises:
        WishError: If there is no such candidate, or params are asked for and it is open for which candidate.
    """
    candidates = model.candidates
    if wishes.estimator:
        if wishes.estimator not in candidates:
            raise WishError(f"{subject} has no candidate {wishes.estimator[:60]!r}; brand.toml lists: {join_bounded(candidates)}")
        candidates = {wishes.estimator: candidates[wishes.estimator]}
    if wishes.params and len(candidates) > 1:
        raise WishError(f"{subject}: params for which candidate? Add --estimator with one of: {join_bounded(candidates)}")
    changed = {name: _override(candidate, wishes.params) for name, candidate in candidates.items()}
    return model.model_copy(update={"candidates": changed})


def _override(candidate: Candidate, params: Mapping[str, Scalar]) -> Candidate:
    space = {name: distribution for name, distribution in candidate.space.items() if name not in params}
    return Candidate(params={**candidate.params, **params}, space=space)


def check_params(code: ModelCode, model: ModelConfig, wishes: Wishes, subject: str) -> None:
    """Refuse params that the candidate's `build_estimator` does not take, and say which it does.

    Raises:
        WishError: If there are such.
    """
    if not wishes.params:
        return
    ((name, candidate),) = model.candidates.items()
    parameters = inspect.signature(code.build_estimator).parameters.values()
    accepted = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        # What is passed on can only be known by passing it on.
        if _builds(code, candidate.params):
            return
        declared = {key: value for key, value in candidate.params.items() if key not in wishes.params}
        accepted |= set(declared) | set(candidate.space) | _params_of_last_step(code, declared)
    unknown = [key for key in wishes.params if key not in accepted]
    if unknown:
        raise WishError(
            f"{subject}: candidate {name!r} takes no {join_bounded(unknown)}; it accepts: {join_bounded(sorted(accepted), 40) or 'none'}"
        )


def _builds(code: ModelCode, params: Mapping[str, Scalar]) -> bool:
    try:
        code.build_estimator(**params)
    except Exception:  # brand code may raise anything; what it takes is told instead
        return False
    return True


def _params_of_last_step(code: ModelCode, params: Mapping[str, Scalar]) -> set[str]:
    try:
        estimator = code.build_estimator(**params)
    except Exception as error:  # brand code may raise anything; the brand fails alone
        raise EntrypointError(f"build_estimator({', '.join(params)}) raised {type(error).__name__}: {str(error)[:300]}") from error
    while getattr(estimator, "steps", None):
        estimator = estimator.steps[-1][1]
    return set(estimator.get_params(deep=False)) if hasattr(estimator, "get_params") else set()
