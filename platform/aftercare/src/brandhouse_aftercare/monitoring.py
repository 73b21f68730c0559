"""Run the checks of one model and write down what they found.

Pure of any engine: the clock comes from the caller, and nothing here knows Prefect. `monitor_flow` is the template.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from brandhouse_aftercare.alarm_budget import alarm_share
from brandhouse_aftercare.checks import WORST_FIRST, Check, Finding, State, Watch
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.brands import Brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

ACTOR = "monitor template"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """What one run of a monitor found.

    Attributes:
        number: Of the version that was watched; None: none is in production.
        before: State of each check in the run before; a check that never ran is missing.
    """

    key: ModelKey
    number: int | None
    now: datetime
    findings: tuple[Finding, ...]
    before: dict[str, str]

    @property
    def worst(self) -> State:
        """The worst state of all checks."""
        states = {finding.state for finding in self.findings}
        return next((state for state in WORST_FIRST if state in states), State.UNKNOWN)

    @property
    def red(self) -> list[Finding]:
        """Those that are red."""
        return [finding for finding in self.findings if finding.state is State.RED]

    @property
    def recovered(self) -> list[Finding]:
        """Those that are green and were red in the run before."""
        return [finding for finding in self.findings if finding.state is State.GREEN and self.before.get(finding.name) == State.RED]

    def as_document(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "brand": self.key.brand,
            "model": self.key.model,
            "version": None if self.number is None else f"v{self.number}",
            "at": self.now.isoformat(),
            "state": str(self.worst),
            "checks": [_as_document(finding) for finding in self.findings],
        }


def standard_checks() -> list[Check]:
    """The checks that every monitor runs, in the order in which they are shown."""
    from brandhouse_aftercare.data_quality import DataQualityCheck
    from brandhouse_aftercare.drift import DriftCheck, PredictionDriftCheck
    from brandhouse_aftercare.estimated_quality import EstimatedQualityCheck
    from brandhouse_aftercare.label_health import LabelCheck
    from brandhouse_aftercare.log_health import LogCheck
    from brandhouse_aftercare.quality import QualityCheck
    from brandhouse_aftercare.skew import SkewCheck
    from brandhouse_aftercare.staleness import StalenessCheck
    from brandhouse_aftercare.volume import VolumeCheck

    of_data: list[Check] = [VolumeCheck(), LogCheck(), DataQualityCheck(), DriftCheck(), PredictionDriftCheck()]
    return [*of_data, LabelCheck(), QualityCheck(), EstimatedQualityCheck(), SkewCheck(), StalenessCheck()]


def run_monitor(
    settings: Settings,
    ledger: Ledger,
    brand: Brand,
    model: str,
    now: datetime,
    *,
    checks: Sequence[Check] | None = None,
    days: int | None = None,
    run_id: str | None = None,
) -> MonitorReport:
    """Look at one model with all checks and append what they found to the ledger.

    Args:
        settings: Where the log and the artifacts are.
        ledger: Is read and written.
        brand: Whose model it is.
        model: Its name.
        now: The moment up to which is looked, aware of its time zone.
        checks: None: `standard_checks`.
        days: Look at exactly the last so many days. None: at as few as give enough rows, at most `monitoring.window_days`.
        run_id: Of the flow run; None: run by hand.
    """
    key = ModelKey(brand.name, model)
    chosen = standard_checks() if checks is None else list(checks)
    before = {entry.name: entry.state for entry in ledger.newest_entries(EntryKind.CHECK, brand.name) if entry.model == model}
    watch = build_watch(settings, ledger, brand, model, now, len(chosen), days)
    findings = tuple(_look(check, watch) for check in chosen)
    number = None if watch.version is None else watch.version.number
    for finding in findings:
        ledger.record_entry(_entry(watch, number, finding, run_id))
    return MonitorReport(key, number, now, findings, before)


def build_watch(settings: Settings, ledger: Ledger, brand: Brand, model: str, now: datetime, checks: int, days: int | None = None) -> Watch:
    """Collect what checks may look at; nothing of the log is read yet."""
    key = ModelKey(brand.name, model)
    store = load_artifact_store(settings)
    return Watch(
        brand=brand,
        key=key,
        version=ledger.production(key),
        ledger=ledger,
        home=settings.home,
        since=now - timedelta(days=days or brand.model(model).monitoring.window_days),
        until=now,
        now=now,
        alarm_share=alarm_share(ledger, key, len(brand.config.models), checks, now),
        find_artifact=lambda version: store.find(version.record.key, version.record.artifact_digest),
        is_fixed_window=days is not None,
    )


def _look(check: Check, watch: Watch) -> Finding:
    try:
        return check.look(watch)
    except Exception as error:  # one check that breaks must not hide what the others see, and is no good news itself
        logger.exception("%s: the check %s failed", watch.key, check.name)
        return Finding(check.name, State.RED, f"the check itself failed: {type(error).__name__}", facts={"error": type(error).__name__})


def _entry(watch: Watch, number: int | None, finding: Finding, run_id: str | None) -> Entry:
    return Entry(
        kind=EntryKind.CHECK,
        brand=watch.key.brand,
        model=watch.key.model,
        number=number,
        name=finding.name,
        state=finding.state,
        value=finding.value,
        detail=finding.detail,
        facts={**finding.facts, "limit": finding.limit, "rows": finding.rows},
        actor=ACTOR,
        run_id=run_id,
        at=watch.now,
    )


def _as_document(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.name,
        "state": str(finding.state),
        "value": finding.value,
        "limit": finding.limit,
        "rows": finding.rows,
        "detail": finding.detail,
        "facts": dict(finding.facts),
    }
