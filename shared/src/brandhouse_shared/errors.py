"""The errors of the platform. Every error says who, what came, what is allowed and what to do next.

The class decides what happens: a `RetryableError` may be tried again after its delay, all others are final, and
serving maps classes to HTTP statuses in one table. Messages are bounded and hold no row values and no secrets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_LISTED = 12


def join_bounded(names: Iterable[object], limit: int = MAX_LISTED) -> str:
    """Join names for a message; what exceeds `limit` is counted instead of listed."""
    listed = [str(name) for name in names]
    rest = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {rest} more" if rest > 0 else "") if listed else "none"


class BrandhouseError(Exception):
    """Base of all errors that a user can act on."""


class RetryableError(BrandhouseError):
    """A passing fault: the same call may succeed after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class WorkspaceNotFoundError(BrandhouseError):
    """No folder with `brands/` was found at or above the current one."""

    def __init__(self, start: object) -> None:
        super().__init__(
            f"no Brandhouse workspace at or above {start}: it is the folder that holds brands/ and pyproject.toml; "
            "change into it or set BRANDHOUSE_ROOT"
        )


class SettingsError(BrandhouseError):
    """Variables of the environment hold what a setting cannot be. Their values are not repeated: some are secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} setting(s) cannot be read from the environment:{lines}\n  docs/reference/settings.md lists them")


class UnknownBrandError(BrandhouseError):
    """A brand was named that has no folder."""

    def __init__(self, brand: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown brand {brand[:80]!r}; known brands: {join_bounded(known)}")
        self.brand = brand


class UnknownModelError(BrandhouseError):
    """A model was named that the brand does not declare."""

    def __init__(self, brand: str, model: str, known: Sequence[str]) -> None:
        super().__init__(f"brand {brand!r} has no model {model[:80]!r}; its models: {join_bounded(known)}")
        self.brand = brand
        self.model = model


class GitError(BrandhouseError):
    """Git cannot answer: no repository, an unknown revision, or too little history."""


class InvalidNameError(BrandhouseError):
    """A name of a brand, model or version does not have the form that paths, labels and queues need."""

    def __init__(self, kind: str, value: str, allowed: str) -> None:
        super().__init__(f"{value[:80]!r} is no {kind}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One fault of a `brand.toml`, for whoever looks up its line.

    Attributes:
        kind: Id of the rule of `brandhouse check` that it breaks.
        path: Keys that lead to it in the document; empty for the file as a whole.
        what: One sentence, `where: what; allowed; what to do`.
    """

    kind: str
    path: tuple[str, ...]
    what: str


class BrandConfigError(BrandhouseError):
    """One or more problems of one brand's configuration, all at once.

    Attributes:
        brand: The folder's name.
        faults: The problems, each with its kind and where it is in the document.
        problems: Their sentences.
    """

    def __init__(self, brand: str, faults: Sequence[ConfigFault]) -> None:
        self.brand = brand
        self.faults = tuple(faults)
        self.problems = tuple(fault.what for fault in faults)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"brand {brand!r}: {len(self.problems)} problem(s) in brand.toml:{lines}")


class EntrypointError(BrandhouseError):
    """A brand's Python module is missing, raises on import, or lacks one of the two functions."""


class ContractViolationError(BrandhouseError):
    """Data contradict the input schema.

    Attributes:
        violations: One sentence each; never holds a value of a personal or sensitive field.
    """

    def __init__(self, subject: str, violations: Sequence[str]) -> None:
        self.violations = tuple(violations)
        lines = "".join(f"\n  - {violation}" for violation in self.violations[:MAX_LISTED])
        rest = len(self.violations) - MAX_LISTED
        more = f"\n  - and {rest} more" if rest > 0 else ""
        super().__init__(f"{subject}: {len(self.violations)} violation(s) of the input schema:{lines}{more}")


class DatasetError(BrandhouseError):
    """A data file is missing, empty, truncated, or cannot be read as declared."""


class SnapshotMismatchError(DatasetError):
    """The bytes of a data file are not those its pointer names."""

    def __init__(self, brand: str, file: str, expected: str, found: str) -> None:
        super().__init__(
            f"{brand}: {file} has hash {found}, its pointer names {expected}; restore the file, or accept the new data "
            f"with `brandhouse ingest {brand} --accept-new`"
        )


class DataProjectLockedError(RetryableError):
    """Another process holds the brand's data project."""

    def __init__(self, brand: str, waited_seconds: float) -> None:
        super().__init__(
            f"{brand}: the data project is locked by another process for {waited_seconds:.0f} s; it is retried, or look "
            f"for a running dvc command in brands/{brand}",
            retry_after_seconds=5.0,
        )


class DiskFullError(RetryableError):
    """No space is left where the platform writes."""

    def __init__(self, path: object) -> None:
        super().__init__(f"no space left on the device that holds {path}; free some, nothing was half written", retry_after_seconds=60.0)


class DaskUnavailableError(RetryableError):
    """The Dask cluster that a training should fan out over does not answer, has no worker, or lost them all."""

    def __init__(self, subject: object, address: str, what: str) -> None:
        super().__init__(
            f"{subject}: the Dask cluster at {address[:200]} {what}; start its scheduler and workers (docs/how-to/dask.md), or unset "
            "BRANDHOUSE_DASK_ADDRESS to train without it",
            retry_after_seconds=30.0,
        )


class AlreadyRunningError(BrandhouseError):
    """The same model is being trained by another run."""

    def __init__(self, key: object, holder: str) -> None:
        super().__init__(f"{key}: a training is already running ({holder}); wait for it or cancel it")


class ArtifactCorruptError(BrandhouseError):
    """A stored artifact is missing or its bytes are not those that were registered."""

    def __init__(self, subject: object, detail: str) -> None:
        super().__init__(f"{subject}: {detail}; the version is not used. Roll back, or train again")


class LedgerError(BrandhouseError):
    """The ledger refused a write or a question."""


class IncompleteRecordError(LedgerError):
    """A version was offered for registration without all fields of its record."""

    def __init__(self, key: object, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(f"{key}: not registered, its record lacks {join_bounded(missing)}")


class UnknownVersionError(LedgerError):
    """A version was named that the ledger does not hold."""

    def __init__(self, key: object, version: object, known: Sequence[object]) -> None:
        super().__init__(f"{key} has no version {version}; known: {join_bounded(known)}")


class StageChangeError(LedgerError):
    """A stage change is not allowed from the present stage."""


class LedgerVersionError(LedgerError):
    """The ledger's schema is older or newer than this release expects."""


class GateError(BrandhouseError):
    """A version did not pass its gates and may not go to production."""


class ApprovalError(BrandhouseError):
    """People still have to agree before a version answers users."""

    def __init__(self, version: object, to: object, needed: int, agreed: Sequence[str]) -> None:
        model, _, number = str(version).rpartition("/")
        people = "one person" if needed == 1 else f"{needed} different people"
        super().__init__(
            f"{version} may go to {to} when {people} have agreed; so far: {join_bounded(agreed) if agreed else 'nobody'}. Each runs "
            f"`brandhouse promote {model} --version {number} --to {to} --approve --reason ...`"
        )
        self.missing = needed - len(agreed)


class UnauthenticatedError(BrandhouseError):
    """No key, an unknown, an expired or a revoked key."""


class ForbiddenError(BrandhouseError):
    """The key belongs to another brand, or lacks the scope."""
