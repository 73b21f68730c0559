"""Keeps what this process sees of trials in files, and stops a canary that the files of all processes speak against."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brandhouse_serving.metric_families import CANARY, CANARY_STOPS, SHADOW
from brandhouse_serving.metrics import Metrics
from brandhouse_serving.sequential import ALPHA
from brandhouse_serving.trial_evidence import Evidence, Trial
from brandhouse_serving.trial_files import TrialFiles
from brandhouse_serving.trial_reports import TrialReport, build_reports
from brandhouse_serving.trial_routes import TrialBook
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.stages import Stage

KEEP_SECONDS = 0.5
"""How often counts are written: so much of them a kill can take. A canary is stopped in twice that time after the evidence is there."""

ACTOR = "gateway"

logger = logging.getLogger(__name__)


class TrialKeeper:
    """Writes, reads and decides, once in `KEEP_SECONDS`."""

    def __init__(self, home: Path, ledger: Ledger, book: TrialBook, metrics: Metrics) -> None:
        self._files = TrialFiles(home)
        self._ledger = ledger
        self._book = book
        self._metrics = metrics
        # Not the process id alone: another process may get it again, and what an earlier one wrote must stay.
        self.worker = f"{os.getpid()}-{time.time_ns() // 1_000_000}"
        self._written: dict[Trial, int] = {}
        self._counted: dict[Trial, dict[str, int]] = {}

    async def follow(self) -> None:
        """Keep the trials until cancelled."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """Write what has changed and stop what does harm. A fault is logged, and the next turn tries again."""
        present = self._book.present()
        documents = self._changed(present)
        canaries = [evidence.trial for evidence in present if evidence.trial.stage is Stage.CANARY]
        if not documents and not canaries:
            return
        try:
            await asyncio.to_thread(self._write, documents)
            for trial, test in await asyncio.to_thread(self._judge, canaries):
                version = trial.version
                self._metrics.count(CANARY_STOPS, version.brand, version.model, f"v{version.number}", test).add()
        except Exception as error:  # a full disk, or a ledger that is away: requests go on being answered
            self._written.clear()
            logger.error("trials cannot be kept: %s: %s", type(error).__name__, str(error)[:300])

    def _changed(self, present: Sequence[Evidence]) -> list[dict[str, Any]]:
        """Counts that differ from what was written; taken on the event loop, where most of them are counted."""
        ended = self._book.take_ended()
        changed = [evidence for evidence in [*present, *ended] if self._written.get(evidence.trial) != evidence.changes]
        self._written = {evidence.trial: evidence.changes for evidence in present}
        for evidence in changed:
            self._count(evidence)
        self._counted = {trial: counts for trial, counts in self._counted.items() if trial in self._written}
        return [evidence.document(self.worker) for evidence in changed]

    def _count(self, evidence: Evidence) -> None:
        """Add to the metrics what has come since the last time: requests do not wait for that, and only this thread may add."""
        version, outcomes = evidence.trial.version, evidence.outcomes()
        counted = self._counted.get(evidence.trial, {})
        self._counted[evidence.trial] = outcomes
        family = CANARY if evidence.trial.stage is Stage.CANARY else SHADOW
        for outcome, total in outcomes.items():
            labels = (version.brand, version.model, f"v{version.number}", outcome)
            self._metrics.count(family, *labels).add(total - counted.get(outcome, 0))

    def _write(self, documents: Sequence[dict[str, Any]]) -> None:
        for document in documents:
            self._files.write(document)

    def _judge(self, canaries: Sequence[Trial]) -> list[tuple[Trial, str]]:
        """Stop the canaries that do harm; returns those that this process stopped, and by which test."""
        stopped = []
        for trial in canaries:
            reports = build_reports(self._files.read(trial.version, trial.since))
            if reports and reports[0].is_harmful and self._stop(trial, reports[0]):
                stopped.append((trial, max(reports[0].evidence, key=reports[0].evidence.__getitem__)))
        return stopped

    def _stop(self, trial: Trial, report: TrialReport) -> bool:
        event = self._ledger.stop_canary(trial.version, trial.since, ACTOR, reason_of(report))
        if event is None:  # another process was faster, or a person
            return False
        logger.warning("%s %s", trial.version, event.reason)
        return True


def reason_of(report: TrialReport) -> str:
    """Say why a canary stops itself, for the ledger."""
    odds = max(report.evidence.values())
    return (
        f"stopped itself: {'; '.join(report.harm)}; odds {odds:,.0f} to 1 where {report.harm_odds:,.0f} to 1 stop; "
        f"a harmless canary is stopped with a probability of {100 * ALPHA:g} % at most"
    )
