"""What the ledger says of production, canaries and shadows, followed event by event.

Only models that something has happened to since the last look are read again: with a thousand models, reading all of
them keeps a process from answering for as long as a hundred requests take.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey

MOST_EVENTS = 200
"""If more has happened since the last look, as after the database was away for long, everything is read again."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look into the ledger has found.

    Attributes:
        seq: The newest stage event that is taken account of.
        keys: The models that something has happened to; None: all were read.
        versions: Their versions in production, canary and shadow, in the order in which they came there.
    """

    seq: int
    keys: frozenset[ModelKey] | None
    versions: Sequence[Version]


class StageFollower:
    """The versions in production, canary and shadow of all models, as of the newest event that was taken over."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seq = -1
        self._production: dict[ModelKey, Version] = {}
        self._trials: dict[ModelKey, list[Version]] = {}

    @property
    def seq(self) -> int:
        """The newest stage event that is taken account of; -1 before the first look."""
        return self._seq

    @property
    def production(self) -> Mapping[ModelKey, Version]:
        """The versions in production."""
        return self._production

    @property
    def trials(self) -> list[Version]:
        """The versions in canary and shadow, in the order in which they came there."""
        return sorted((version for versions in self._trials.values() for version in versions), key=lambda version: version.stage_seq)

    def read(self) -> Changes | None:
        """Look into the ledger; None if nothing has happened. Changes nothing here: it may be called in a thread."""
        seq = self._ledger.last_seq()
        if seq == self._seq:
            return None
        if 0 <= self._seq < seq:
            events = self._ledger.stage_events(after_seq=self._seq, limit=MOST_EVENTS + 1)
            if len(events) <= MOST_EVENTS:
                keys = frozenset(event.version.model_key for event in events)
                return Changes(events[-1].seq, keys, self._ledger.deployed_versions(keys))
        # The first look, a long absence, or a ledger that was restored to an earlier state.
        return Changes(seq, None, self._ledger.deployed_versions())

    def take_over(self, changes: Changes) -> Collection[ModelKey]:
        """Take the changes over, and return the models whose versions may be others now. The same changes may come again."""
        keys = changes.keys
        if keys is None:
            keys = frozenset([*self._production, *self._trials, *(version.key.model_key for version in changes.versions)])
        for key in keys:
            self._production.pop(key, None)
            self._trials.pop(key, None)
        for version in changes.versions:
            if version.stage is Stage.PRODUCTION:
                self._production[version.key.model_key] = version
            else:
                self._trials.setdefault(version.key.model_key, []).append(version)
        return keys

    def settle(self, changes: Changes) -> None:
        """Begin behind these changes at the next look: everything that follows from them is done."""
        self._seq = changes.seq
