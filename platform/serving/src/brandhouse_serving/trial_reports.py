"""What all processes together have seen of a trial, and what follows from it. Values in, value out."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from brandhouse_serving.sequential import (
    ALPHA,
    ENOUGH,
    mix,
    requests_to_catch_disagreement,
    requests_to_catch_errors,
    risk_evidence,
)
from brandhouse_serving.trial_evidence import TIMED_CANARY, TIMED_PRODUCTION
from brandhouse_serving.trial_keys import KeyCounts, count_keys
from brandhouse_serving.trial_times import quantile_ms

ERRORS, SLOWNESS, DISAGREEMENT = "errors", "slowness", "disagreement"


@dataclass(frozen=True, slots=True)
class SideReport:
    """How requests of the canary, or of production beside it, went.

    Attributes:
        failure_share: Of the requests that it was to answer.
        slow_share: Of the answers whose duration was judged; None if none was.
        failed_keys: Distinct keys with a failure.
        slow_keys: Distinct keys with a slow answer.
        times: Counts of answers in steps of `trial_times`.
    """

    answers: int
    failures: int
    failure_share: float | None
    slow_share: float | None
    failed_keys: int
    slow_keys: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    times: Sequence[int]


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """How far the version's answers are from production's, over distinct requests.

    Attributes:
        share: Of the rows that differ; None if none was compared.
        pairs: Production's label, the version's, and how many rows, most frequent first; empty for numbers.
        differences: Counts of rows in steps of `trial_times`, of the difference instead of milliseconds.
        uncompared: Requests that were not compared, by why.
        examples: Prediction ids of rows that differ, the newest of each process.
        p50_ms: Of the version that was asked for comparison: the shadow, or production beside a canary.
        times: The same as counts in steps of `trial_times`.
    """

    requests: int
    rows: int
    differing: int
    share: float | None
    mean_difference: float | None
    max_difference: float | None
    pairs: Sequence[tuple[str, str, int]]
    differences: Sequence[int]
    uncompared: Mapping[str, int]
    examples: Sequence[str]
    p50_ms: float | None
    p99_ms: float | None
    times: Sequence[int]


@dataclass(frozen=True, slots=True)
class TrialReport:
    """One trial, as all processes together saw it.

    Attributes:
        since: `seq` of the stage event with which it began.
        slow_ms: From how many milliseconds an answer counted as slow; with a latency budget that of one row. None: not known yet.
        evidence: Per test the odds against "no harm"; `harm_odds` of them stop a canary.
        harm: What was found to be wrong, in words; empty if nothing was.
        problem: Why a process has not loaded the version; empty if all have.
    """

    brand: str
    model: str
    version: int
    stage: str
    share: float | None
    production: int
    since: int
    begun_at: str
    written_at: str
    workers: int
    canary: SideReport
    beside: SideReport
    compared: ComparisonReport
    max_disagreement_share: float
    slow_ms: float | None
    evidence: Mapping[str, float]
    harm_odds: float
    false_alarm_rate: float
    harm: Sequence[str]
    needed: int
    problem: str

    @property
    def is_harmful(self) -> bool:
        """Whether a test says harm."""
        return bool(self.harm)

    @property
    def seen(self) -> int:
        """Requests that say something: the canary's, or those that were compared."""
        return self.canary.answers + self.canary.failures if self.stage == "canary" else self.compared.requests

    @property
    def verdict(self) -> str:
        """What follows, in a few words."""
        if self.harm:
            return "harm: " + "; ".join(self.harm)
        if self.problem:
            return f"not loaded: {self.problem}"
        if self.seen < self.needed:
            return f"not enough: {self.seen:,} of about {self.needed:,} requests"
        return "no harm seen"

    def as_document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"seen": self.seen, "verdict": self.verdict}


def build_reports(documents: Sequence[Mapping[str, Any]]) -> list[TrialReport]:
    """Put together what processes wrote about one version, trial by trial, newest first."""
    trials: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        trials.setdefault(_identity(document), []).append(document)
    return sorted((build_report(parts) for parts in trials.values()), key=lambda report: (report.since, report.begun_at), reverse=True)


def build_report(parts: Sequence[Mapping[str, Any]]) -> TrialReport:
    """Put together what the processes saw of one trial; there is at least one."""
    first = parts[0]
    errors, slow = (count_keys([part[name] for part in parts]) for name in ("errors", "slow"))
    canary = _side([part["canary"] for part in parts], errors.canary, slow.canary)
    beside = _side([part["beside"] for part in parts], errors.production, slow.production)
    compared = _compared([part["compared"] for part in parts])
    limit = float(first["rules"]["max_disagreement_share"])
    logs = _evidence(first["share"], errors, slow, [part["compared"]["gains"] for part in parts])
    return TrialReport(
        **{name: first[name] for name in ("brand", "model", "version", "stage", "share", "production", "since")},
        begun_at=min(part["begun_at"] for part in parts),
        written_at=max(part["written_at"] for part in parts),
        workers=len(parts),
        canary=canary,
        beside=beside,
        compared=compared,
        max_disagreement_share=limit,
        slow_ms=_slow_ms(parts),
        evidence={name: _odds(log) for name, log in logs.items()},
        harm_odds=_odds(ENOUGH),
        false_alarm_rate=ALPHA,
        harm=_harm(logs, canary, beside, compared, limit),
        needed=_needed(first["share"], limit),
        problem=next((part["problem"] for part in parts if part["problem"]), ""),
    )


def _identity(document: Mapping[str, Any]) -> str:
    return repr([document[name] for name in ("since", "stage", "share", "production")] + sorted(document["rules"].items()))


def _evidence(share: float | None, errors: KeyCounts, slow: KeyCounts, gains: Sequence[Sequence[float]]) -> dict[str, float]:
    disagreement = {DISAGREEMENT: mix([sum(column) for column in zip(*gains, strict=True)])}
    if share is None:
        return disagreement
    both = {ERRORS: errors, SLOWNESS: slow}
    return {name: risk_evidence(keys.canary, keys.production, share) for name, keys in both.items()} | disagreement


def _odds(log: float) -> float:
    """Evidence as a wealth, with three significant digits; beyond a billion it is as good as certain."""
    return float(f"{math.exp(min(log, 20.7)):.3g}")


def _harm(logs: Mapping[str, float], canary: SideReport, beside: SideReport, compared: ComparisonReport, limit: float) -> list[str]:
    said = {
        ERRORS: f"fails more often than production ({_of(canary.failures, canary)} against {_of(beside.failures, beside)} requests, "
        f"{canary.failed_keys:,} against {beside.failed_keys:,} keys)",
        SLOWNESS: f"is slow more often than production ({_percent(canary.slow_share)} against {_percent(beside.slow_share)} of answers)",
        DISAGREEMENT: f"disagrees with production in {_percent(compared.share)} of {compared.rows:,} rows, more than {_percent(limit)}",
    }
    return [said[name] for name, log in logs.items() if log >= ENOUGH]


def _of(count: int, side: SideReport) -> str:
    return f"{count:,} of {side.answers + side.failures:,}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _needed(share: float | None, limit: float) -> int:
    if share is None:
        return requests_to_catch_disagreement(limit)
    return max(requests_to_catch_errors(share), TIMED_CANARY, round(TIMED_PRODUCTION * share))


def _side(parts: Sequence[Mapping[str, Any]], failed_keys: int, slow_keys: int) -> SideReport:
    answers, failures, judged, slow = (sum(part[name] for part in parts) for name in ("answers", "failures", "judged", "slow"))
    times = _added([part["times"] for part in parts])
    return SideReport(
        answers=answers,
        failures=failures,
        failure_share=failures / (answers + failures) if answers + failures else None,
        slow_share=slow / judged if judged else None,
        failed_keys=failed_keys,
        slow_keys=slow_keys,
        p50_ms=quantile_ms(times, 0.5),
        p95_ms=quantile_ms(times, 0.95),
        p99_ms=quantile_ms(times, 0.99),
        times=times,
    )


def _compared(parts: Sequence[Mapping[str, Any]]) -> ComparisonReport:
    requests, rows, differing = (sum(part[name] for part in parts) for name in ("requests", "rows", "differing"))
    pairs: Counter[str] = Counter()
    uncompared: Counter[str] = Counter()
    for part in parts:
        pairs.update(part["pairs"])
        uncompared.update(part["uncompared"])
    times = _added([part["times"] for part in parts])
    return ComparisonReport(
        requests=requests,
        rows=rows,
        differing=differing,
        share=differing / rows if rows else None,
        mean_difference=sum(part["sum_difference"] for part in parts) / rows if rows else None,
        max_difference=max(part["max_difference"] for part in parts) if rows else None,
        pairs=[(*_pair(name), count) for name, count in pairs.most_common()],
        differences=_added([part["differences"] for part in parts]),
        uncompared=dict(uncompared.most_common()),
        examples=[example for part in parts for example in part["examples"]],
        p50_ms=quantile_ms(times, 0.5),
        p99_ms=quantile_ms(times, 0.99),
        times=times,
    )


def _pair(name: str) -> tuple[str, str]:
    production, _, other = name.partition("\n")
    return production, other


def _added(columns: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*columns, strict=True)]


def _slow_ms(parts: Sequence[Mapping[str, Any]]) -> float | None:
    """The latency budget, or the greatest of the limits that the processes found."""
    budget = parts[0]["rules"]["budget_ms"]
    return budget if budget is not None else max((part["slow_ms"] for part in parts if part["slow_ms"] is not None), default=None)
