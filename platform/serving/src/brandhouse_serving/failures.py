"""The one way in which a version fails: it could not be loaded, or could not answer. Another one should."""

from brandhouse_shared.errors import BrandhouseError


class VersionFailedError(BrandhouseError):
    """A version could not be loaded or could not answer.

    Attributes:
        reason: A few words, fit for a response header: no value of a request, no path.
    """

    def __init__(self, subject: object, reason: str, detail: str = "") -> None:
        super().__init__(f"{subject}: {reason}" + (f" ({detail[:500]})" if detail else ""))
        self.reason = reason
