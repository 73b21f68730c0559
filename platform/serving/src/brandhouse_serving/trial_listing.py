"""The trials of a model, those that go on and those that have ended: what the ledger says beside what the gateways saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brandhouse_serving.trial_files import TrialFiles
from brandhouse_serving.trial_reports import TrialReport, build_reports
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import StageEvent, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey, VersionKey


@dataclass(frozen=True, slots=True)
class ListedTrial:
    """One trial.

    Attributes:
        report: What was seen; None if no gateway has seen anything yet.
        ended: The event that ended it; None if it goes on.
    """

    version: VersionKey
    stage: Stage
    share: float | None
    since: StageEvent
    report: TrialReport | None
    ended: StageEvent | None

    @property
    def verdict(self) -> str:
        """What was seen, in a few words."""
        if self.report is None:
            return "nothing seen: no gateway has answered since"
        return self.report.verdict

    def as_document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "brand": self.version.brand,
            "model": self.version.model,
            "version": f"v{self.version.number}",
            "stage": str(self.stage),
            "share": self.share,
            "since": self.since.at.isoformat(),
            "is_running": self.ended is None,
            "ended": None if self.ended is None else self.ended.model_dump(mode="json", exclude={"version"}),
            "verdict": self.verdict,
            "report": None if self.report is None else self.report.as_document(),
        }


def list_trials(ledger: Ledger, home: Path, key: ModelKey, *, only_running: bool = False) -> list[ListedTrial]:
    """Return a model's trials: those that go on first, then the newest.

    Args:
        ledger: Which says what goes on.
        home: Where the gateways keep what they see.
        key: The model.
        only_running: Leave out those that have ended.
    """
    events = ledger.stage_events(key, limit=100_000)
    production = ledger.production(key)
    present = [version for version in ledger.trial_versions() if version.key.model_key == key]
    running = {} if production is None else {(version.key, version.trial_since(production)): version for version in present}
    reports = _reports(TrialFiles(home), key)
    listed = [_running(version, since, events, reports.get((version.key, since))) for (_, since), version in running.items()]
    if only_running:
        return listed
    ended = [_ended(report, events) for place, report in reports.items() if place not in running]
    return listed + sorted((one for one in ended if one is not None), key=lambda one: one.since.seq, reverse=True)


def _reports(files: TrialFiles, key: ModelKey) -> dict[tuple[VersionKey, int], TrialReport]:
    """The newest report of each trial: with changed rules in `brand.toml` it begins anew."""
    found: dict[tuple[VersionKey, int], TrialReport] = {}
    for version in files.versions(key):
        for report in build_reports(files.read(version)):
            found.setdefault((version, report.since), report)
    return found


def _running(version: Version, since: int, events: Sequence[StageEvent], report: TrialReport | None) -> ListedTrial:
    begun = next(event for event in events if event.seq == since)
    return ListedTrial(version.key, version.stage, version.share, begun, report, None)


def _ended(report: TrialReport, events: Sequence[StageEvent]) -> ListedTrial | None:
    """A trial of the files; None if this ledger does not know it, or nothing has happened since: its model has none in production."""
    version = VersionKey(report.brand, report.model, report.version)
    begun = next((event for event in events if event.seq == report.since), None)
    later = (event for event in events if event.seq > report.since and (event.version == version or event.to is Stage.PRODUCTION))
    end = next(later, None)
    return None if begun is None or end is None else ListedTrial(version, Stage(report.stage), report.share, begun, report, end)
