"""What an estimator may be built as, and the answer to whoever asks for something else."""

from collections.abc import Mapping
from typing import Any

from brandhouse_shared.errors import BrandhouseError, join_bounded

Makers = Mapping[str, Any]
"""Name of a kind to the scikit-learn class behind it."""


class UnknownKindError(BrandhouseError):
    """A kind was asked for that a ready module does not offer."""

    def __init__(self, module: str, kind: object, known: Makers) -> None:
        super().__init__(
            f"ready.{module} has no kind {str(kind)[:60]!r}; allowed: {join_bounded(known)}. "
            "Correct `params.kind` of the candidate in brand.toml, or the call in the model's module"
        )


class UnknownParameterError(BrandhouseError):
    """A parameter was given that the chosen kind does not take."""

    def __init__(self, module: str, kind: str, unknown: list[str], known: list[str]) -> None:
        super().__init__(
            f"ready.{module}, kind {kind!r}, takes no parameter {join_bounded(unknown)}; allowed: {join_bounded(known, 40)}. "
            "Correct `params` or `space` of the candidate in brand.toml"
        )


def build_of_kind(module: str, kind: str, makers: Makers, defaults: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> Any:
    """Build the estimator of a kind, seeded where it draws.

    Args:
        module: Who asks, for messages.
        kind: One of `makers`.
        makers: The kinds on offer.
        defaults: By kind, what is set unless `params` says otherwise.
        params: Parameters of the estimator.

    Raises:
        UnknownKindError: If the kind is not on offer.
        UnknownParameterError: If the estimator has no such parameter.
    """
    if kind not in makers:
        raise UnknownKindError(module, kind, makers)
    estimator = makers[kind]()
    known = sorted(estimator.get_params())
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise UnknownParameterError(module, kind, unknown, known)
    seeded = {"random_state": 0} if "random_state" in known else {}
    return estimator.set_params(**{**seeded, **defaults.get(kind, {}), **params})
