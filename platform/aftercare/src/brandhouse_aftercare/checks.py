"""What a monitor is made of: checks that look at one model and say what they found.

Here are only the words that all checks share. What is looked at is read by `answers`; who runs checks is `monitoring`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from brandhouse_shared.brands import Brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey

if TYPE_CHECKING:
    from brandhouse_aftercare.answers import Answers
    from brandhouse_aftercare.label_joins import LabelBook
    from brandhouse_aftercare.traffic import Traffic
    from brandhouse_shared.artifacts import Manifest


class State(StrEnum):
    """How a check turned out. Only `green` is good: what is not known is not called good."""

    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"
    """It could not be said, mostly for want of rows; `detail` says how many there are and how many it takes."""
    NOT_APPLICABLE = "not_applicable"
    """There is nothing to look at, such as where the brand may not store predictions; `detail` says why."""


WORST_FIRST = (State.RED, State.UNKNOWN, State.GREEN, State.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: Of the check.
        value: The number that decided; None: there is none.
        limit: What it was held against, in the same unit.
        rows: How many rows it rests on.
        detail: One sentence for people, with its numbers. No row values, no secrets.
        facts: JSON-able, for the ledger and for other parts. No row values either.
    """

    name: str
    state: State
    detail: str
    value: float | None = None
    limit: float | None = None
    rows: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Watch:
    """What a check may look at: one model of one brand, up to one moment.

    Attributes:
        version: In production; None: there is none.
        find_artifact: Folder of a version's files, every byte checked; a call, for it takes a moment.
        since: Nothing older is looked at by checks that want the newest rows.
        until: First moment that is not looked at.
        now: The clock of this run, UTC; mostly equal to `until`.
        alarm_share: How probable a false alarm of one check in this run may be at most; see `alarm_budget`.
    """

    brand: Brand
    key: ModelKey
    version: Version | None
    ledger: Ledger
    home: Path
    since: datetime
    until: datetime
    now: datetime
    alarm_share: float
    find_artifact: Callable[[Version], Path]
    is_fixed_window: bool = False
    """Whether the answers of exactly `since` to `until` are looked at, however many they are."""

    @property
    def model(self) -> ModelConfig:
        """What the brand declares of the model."""
        return self.brand.model(self.key.model)

    @property
    def artifact(self) -> Path | None:
        """Folder of the files of the version in production."""
        return None if self.version is None else self.find_artifact(self.version)

    @functools.cached_property
    def traffic(self) -> "Traffic":
        """How many answers were given, hour by hour, in the time that is looked at and in four weeks at least. Read once."""
        from brandhouse_aftercare.traffic import LEAST_DAYS, read_traffic

        return read_traffic(self.home, self.key, self.until, max(LEAST_DAYS, self.whole_window.days))

    @functools.cached_property
    def answers(self) -> "Answers":
        """The newest answers: as many whole days back from `until` as it takes for enough rows. Read once, shared by all checks."""
        from brandhouse_aftercare.answers import read_newest

        return read_newest(self)

    @functools.cached_property
    def manifest(self) -> "Manifest":
        """Of the version in production, which there must be.

        Raises:
            ArtifactCorruptError: If its files are missing or altered.
        """
        from brandhouse_shared.artifacts import read_manifest

        if self.version is None:
            raise BrandhouseError(f"{self.key} has no version in production")
        return read_manifest(self.find_artifact(self.version))

    @functools.cached_property
    def labels(self) -> "LabelBook":
        """The truths that came in, with their answers. Read once, shared by all checks. Raises as `manifest` does."""
        from brandhouse_aftercare.label_joins import read_label_book

        return read_label_book(self, self.manifest)

    def read(self, since: datetime, until: datetime) -> "Answers":
        """Read the answers of another time."""
        from brandhouse_aftercare.answers import read_answers

        return read_answers(self.home, self.key, self.model.inputs, since, until)

    @functools.cached_property
    def wanted_rows(self) -> int:
        """So many rows it takes to see a drift of the size that is looked for."""
        from brandhouse_aftercare.drift import wanted_rows

        return wanted_rows(self)

    @property
    def whole_window(self) -> timedelta:
        """The longest time that checks of the newest rows look back."""
        return self.until - self.since


class Check(Protocol):
    """Looks at one model. Several may look at the same watch one after the other."""

    @property
    def name(self) -> str:
        """Lower case with underscores; the name of its entries, metrics and alerts."""

    def look(self, watch: Watch) -> Finding:
        """Say what is found. What it raises is recorded as red, with the error's class."""
