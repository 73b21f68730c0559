"""The seven tests of what watches."""

from collections.abc import Sequence
from statistics import median

from brandhouse_aftercare.readiness_answers import Answer, Rule, Test, full, half, not_applicable, of_production, refuted, unknown
from brandhouse_aftercare.readiness_evidence import Evidence
from brandhouse_shared.ledger.records import Version

TOLD_DAYS = 180
FALLBACK_DAYS = 30
SLOWER = 2.0
"""A training that takes so many times as long as the median of those before has got slower; less is the machine's mood."""


def warned(evidence: Evidence) -> Answer:
    """Somebody hears of it when something changes that the model depends on."""
    routes = sorted(evidence.brand.config.alerts.routes)
    told = [entry for entry in evidence.alerts if entry.state == "sent" and evidence.is_fresh(entry.at, TOLD_DAYS)]
    is_asked = evidence.repository.runs("brandhouse", "affected")
    if not routes:
        seen = "a workflow says which brands a change of packages touches; " if is_asked else ""
        return (half if is_asked else unknown)(f"{seen}the brand names no route for alerts", link=f"brands/{evidence.key.brand}/brand.toml")
    if not told:
        found = f"routes {', '.join(routes)}; nothing was sent within {TOLD_DAYS} days, so nobody knows whether they work"
        return (half if is_asked else unknown)(found)
    newest = max(told, key=lambda entry: entry.at)
    found = f"alerts reach {', '.join(routes)}"
    if not is_asked:
        return half(f"{found}; no workflow says which brands a change of packages touches", newest.at, f"ledger entry {newest.seq}")
    return full(f"{found}, and a workflow says which brands a change of packages touches", newest.at, f"ledger entry {newest.seq}")


def watched_by(check: str) -> Rule:
    """Make the rule that a check of the monitor ran when it was due, about the version in production, and is green."""

    @of_production
    def watched(evidence: Evidence, version: Version) -> Answer:
        entry = evidence.checks.get(check)
        if entry is None:
            return unknown(f"the check {check} never ran")
        link = f"ledger entry {entry.seq}"
        if entry.state == "not_applicable":
            return not_applicable(entry.detail, entry.at, link)
        if entry.state == "red":
            return refuted(entry.detail, entry.at, link)
        if entry.state != "green":
            return unknown(entry.detail, entry.at, link)
        if entry.number != version.number:
            return unknown(f"the check {check} looked at v{entry.number} last, and v{version.number} is in production", entry.at, link)
        if not evidence.is_on_time(entry):
            return half(f"{entry.detail}; it did not run when it was due", entry.at, link)
        return full(entry.detail, entry.at, link)

    return watched


@of_production
def stable(evidence: Evidence, version: Version) -> Answer:
    """Numbers stay numbers, and the same ones whoever computes them."""
    failed = [one for one in evidence.fallbacks if one.number == version.number and evidence.is_fresh(one.at, FALLBACK_DAYS)]
    if failed:
        return refuted(f"{version.key} could not answer {len(failed)} times within {FALLBACK_DAYS} days: {failed[0].reason}", failed[0].at)
    told = version.record.feature_statistics.get("prediction")
    if not isinstance(told, dict) or not (told.get("deciles") or told.get("classes")):
        return unknown(f"{version.key} keeps no statistics of its answers", version.record.created_at, str(version.key))
    if _holes(told):
        return refuted(f"answers of {version.key} on the hold-out are not all finite", version.record.created_at, str(version.key))
    drift = evidence.checks.get("prediction_drift")
    is_watched = drift is not None and drift.number == version.number and evidence.is_on_time(drift)
    has_agreed = version.record.runtime == "compiled" or _state(evidence, "skew") == "green"
    how = "compiled, within 1e-5 of scikit-learn" if version.record.runtime == "compiled" else "computed again bit by bit"
    if is_watched and drift is not None and drift.state in ("green", "red") and has_agreed:
        return full(f"answers are finite, {how}, and watched", drift.at, f"ledger entry {drift.seq}")
    return half("answers on the hold-out are finite; nobody watches those since", version.record.created_at, str(version.key))


def _holes(told: object) -> bool:
    if isinstance(told, dict):
        return any(_holes(value) for value in told.values())
    return any(_holes(value) for value in told) if isinstance(told, list) else told is None


def _state(evidence: Evidence, check: str) -> str:
    entry = evidence.checks.get(check)
    return "" if entry is None else entry.state


@of_production
def swift(evidence: Evidence, version: Version) -> Answer:
    """Neither training nor serving got slower."""
    gate, at, link = evidence.gate("latency"), version.record.created_at, str(version.key)
    if gate.get("passed") is False:
        return refuted(f"gate latency: {gate['detail']}", at, link)
    measured = sorted((result for result in evidence.results.values() if result.trials), key=lambda result: result.recorded_at)
    seconds = [result.learning_seconds / result.trials for result in measured]
    ratio = _growth(seconds)
    if ratio is not None and ratio > SLOWER:
        return refuted(f"the newest training took {ratio:.1f} times as long a trial as the median before", measured[-1].recorded_at)
    said = "one training only" if ratio is None else f"the newest training took {ratio:.1f} times the median before"
    if gate.get("passed") is not True:
        return (unknown if ratio is None else half)(f"{said}; no budget of latency", at, link)
    return (half if ratio is None else full)(f"{said}; latency {gate['detail']}", at, link)


def _growth(seconds: Sequence[float]) -> float | None:
    before = median(seconds[:-1]) if len(seconds) > 1 else 0.0
    return seconds[-1] / before if before > 0 else None


def good(evidence: Evidence) -> Answer:
    """Answers are still as good as they were."""
    answer = watched_by("quality")(evidence)
    if answer.points or answer.verdict == "refuted":
        return answer
    estimate = watched_by("estimated_quality")(evidence)
    if estimate.verdict == "refuted":
        return estimate
    return half(f"estimated: {estimate.found}", estimate.at, estimate.link) if estimate.points else answer


TESTS = (
    Test(
        "monitoring.1",
        "Is somebody told when a dependency changes?",
        f"1: an alert reached the brand within {TOLD_DAYS} days, and a workflow names the brands that a change touches. ½: one of them.",
        "declare `[alerts.routes]`, then `brandhouse alerts BRAND --test`",
        1.0,
        warned,
    ),
    Test(
        "monitoring.2",
        "Do inputs keep to what holds in training and serving?",
        "1: the check data_quality ran when it was due, and is green. ½: green, but late.",
        "run the monitor where there is traffic: `brandhouse monitor BRAND/MODEL`",
        0.5,
        watched_by("data_quality"),
    ),
    Test(
        "monitoring.3",
        "Do training and serving compute the same?",
        "1: the check skew ran when it was due, and is green. ½: green, but late.",
        "run the monitor where there is traffic: `brandhouse monitor BRAND/MODEL`",
        0.5,
        watched_by("skew"),
    ),
    Test(
        "monitoring.4",
        "Is the version not too old?",
        "1: the check staleness ran when it was due, and is green. ½: green, but late.",
        "run the monitor; retrain if it is red",
        0.5,
        watched_by("staleness"),
    ),
    Test(
        "monitoring.5",
        "Are its numbers stable?",
        f"1: finite on the hold-out, one result whoever computes it, watched, and no fallback within {FALLBACK_DAYS} days. ½: not watched.",
        "run the monitor; look at fallbacks if there are any",
        0.5,
        stable,
    ),
    Test(
        "monitoring.6",
        "Did training and serving not get slower?",
        f"1: the latency gate passed, and the newest training took at most {SLOWER:g} times the median before. ½: one of them.",
        "set `serving.latency_budget_ms`, and train twice",
        1.0,
        swift,
    ),
    Test(
        "monitoring.7",
        "Are answers still as good as they were?",
        "1: the check quality ran when it was due, and is green. ½: late, or an estimate without labels.",
        "bring labels back (`POST .../labels`), and run the monitor",
        4.0,
        good,
    ),
)
