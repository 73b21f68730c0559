"""What can go wrong while serving. Nothing but `shared` is imported here: a Bento that serves alone carries this file.

A version fails in one way: it could not be loaded, or could not answer. Another one should.
"""

from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey


class VersionFailedError(BrandhouseError):
    """A version could not be loaded or could not answer.

    Attributes:
        reason: A few words, fit for a response header: no value of a request, no path.
    """

    def __init__(self, subject: object, reason: str, detail: str = "") -> None:
        super().__init__(f"{subject}: {reason}" + (f" ({detail[:500]})" if detail else ""))
        self.reason = reason


class UnavailableError(BrandhouseError):
    """Nothing can answer for a model."""

    def __init__(self, key: ModelKey, reason: str) -> None:
        super().__init__(f"{key} cannot answer at present: {reason}; look at `brandhouse versions {key}`")


class UnknownPredictionError(BrandhouseError):
    """A label came for a prediction that this model never made, or no longer knows."""

    def __init__(self, key: ModelKey) -> None:
        super().__init__(f"{key} made no prediction of that id; use an id from prediction_ids of its answers")


class NoSuchPredictionError(BrandhouseError):
    """A brand asked about a prediction that none of its models made, or that is kept no longer."""

    def __init__(self, brand: str) -> None:
        super().__init__(f"{brand} has no prediction of that id; use an id from prediction_ids of its answers")


class DuplicateLabelError(BrandhouseError):
    """A second label came for the same prediction."""

    def __init__(self, key: ModelKey) -> None:
        super().__init__(f"{key} already has a label for that prediction; the first one stays")
