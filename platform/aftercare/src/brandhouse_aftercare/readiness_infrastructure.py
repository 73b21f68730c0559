"""The seven tests of what trains and ships."""

from brandhouse_aftercare.drill_marks import ACTOR as DRILL_ACTOR
from brandhouse_aftercare.drill_marks import NAME as DRILL
from brandhouse_aftercare.readiness_answers import Answer, Test, full, half, not_applicable, of_production, refuted, unknown
from brandhouse_aftercare.readiness_data import answer_of_tests
from brandhouse_aftercare.readiness_evidence import Evidence
from brandhouse_aftercare.readiness_proofs import REBUILD
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage

REBUILD_DAYS = 180
RUN_DAYS = 90
DRILL_DAYS = 15
"""Drills are weekly; one may fail for want of a gateway."""
ROLLBACK_DAYS = 365


@of_production
def reproducible(evidence: Evidence, version: Version) -> Answer:
    """Training again from the record gives the same model."""
    entry = evidence.proofs.get(REBUILD)
    if entry is None:
        return unknown("no version was ever trained again from its record")
    link = f"ledger entry {entry.seq}"
    if entry.state not in ("same", "same model"):
        return refuted(f"v{entry.number} trained again: {entry.state}; {entry.detail}", entry.at, link)
    if entry.number == version.number and evidence.is_fresh(entry.at, REBUILD_DAYS):
        return full(f"{version.key} trained again: {entry.state}", entry.at, link)
    return half(f"v{entry.number} trained again: {entry.state}; not {version.key} within {REBUILD_DAYS} days", entry.at, link)


def specified(evidence: Evidence) -> Answer:
    """The code that builds estimators has tests, and they pass."""
    answer = answer_of_tests(evidence, "build_estimator")
    if answer.verdict == "unknown" and evidence.code.is_checked:
        return half(f"`brandhouse check` fitted every candidate on made-up rows; {answer.found}", link=answer.link)
    return answer


def integrated(evidence: Evidence) -> Answer:
    """The whole way from data to a packaged version is walked."""
    ended = [run for run in evidence.runs if run.record.template == "train" and run.outcome is not None and run.outcome != "cancelled"]
    if not ended or ended[0].ended_at is None:
        return unknown("no training is on record")
    run, at = ended[0], ended[0].ended_at
    link = f"run {run.record.run_id}"
    if run.outcome in ("failed", "crashed"):
        return refuted(f"the newest training {run.outcome}: {run.detail}", at, link)
    if not evidence.is_fresh(at, RUN_DAYS):
        return unknown(f"the newest training ended more than {RUN_DAYS} days ago", at, link)
    if run.record.code_digest != evidence.code.digest:
        return half("the newest training went all the way, with other code than today's", at, link)
    if not evidence.repository.runs("brandhouse", "train"):
        return half("the newest training went all the way; no workflow trains at a change", at, link)
    return full("the newest training went all the way, and a workflow trains what a change touches", at, link)


@of_production
def validated(evidence: Evidence, version: Version) -> Answer:
    """Nothing serves that did not pass its gates."""
    came = next((event for event in reversed(evidence.promotions) if event.version.number == version.number), None)
    if came is None:
        return unknown(f"how {version.key} came to production is not on record")
    if came.forced or not version.record.gates_passed:
        return refuted(f"{version.key} went to production though its gates had failed", came.at, str(version.key))
    judged = [str(gate["name"]) for gate in version.record.gates if gate.get("passed") is True]
    if version.record.kind == "baseline" or not judged:
        return unknown(f"{version.key} had no gate to pass", came.at, str(version.key))
    return full(f"it passed {', '.join(judged)} before it went to production", came.at, str(version.key))


@of_production
def debuggable(evidence: Evidence, version: Version) -> Answer:
    """One answer can be computed again, step by step."""
    if not evidence.brand.config.capabilities.may_store_predictions:
        return not_applicable("inputs and answers are not kept (may_store_predictions = false)")
    entry = evidence.checks.get("skew")
    if entry is None:
        return unknown("no logged answer was computed again")
    link = f"ledger entry {entry.seq}"
    if entry.state == "not_applicable":
        return not_applicable(entry.detail, entry.at, link)
    rows = entry.facts.get("rows")
    if entry.state == "unknown" or not rows:
        return unknown(entry.detail, entry.at, link)
    if entry.state == "red":
        return refuted(f"logged answers do not come out again: {entry.detail}", entry.at, link)
    found = f"each of {rows} logged answers of v{entry.number} was computed again alone, from its inputs"
    return (full if evidence.is_on_time(entry) and entry.number == version.number else half)(found, entry.at, link)


@of_production
def canaried(evidence: Evidence, version: Version) -> Answer:
    """A version meets some real requests before it meets all."""
    own = [event for event in evidence.events if event.version.number == version.number and event.actor != DRILL_ACTOR]
    came = next((place for place in reversed(range(len(own))) if own[place].to is Stage.PRODUCTION), None)
    before = [] if came is None else own[:came]
    canary = next((event for event in reversed(before) if event.to is Stage.CANARY), None)
    if canary is not None:
        found = f"{version.key} was canary since {canary.at:%Y-%m-%d}"
        return (full if canary.automatic else half)(
            f"{found}{'' if canary.automatic else ', put there by hand'}", canary.at, str(version.key)
        )
    shadow = next((event for event in reversed(before) if event.to is Stage.SHADOW), None)
    if shadow is not None:
        return half(f"{version.key} was shadow since {shadow.at:%Y-%m-%d}, and never canary", shadow.at, str(version.key))
    return unknown(f"{version.key} went to production without a trial")


def reversible(evidence: Evidence) -> Answer:
    """The way back works."""
    drill = evidence.drills.get(DRILL)
    if drill is not None and drill.state == "red":
        return refuted(drill.detail, drill.at, f"ledger entry {drill.seq}")
    if drill is not None and drill.state == "green" and evidence.is_fresh(drill.at, DRILL_DAYS):
        return full(drill.detail, drill.at, f"ledger entry {drill.seq}")
    back = [event for event in evidence.events if event.cause == "rolled_back" and evidence.is_fresh(event.at, ROLLBACK_DAYS)]
    if back:
        return half(f"rolled back to {back[-1].version} by hand", back[-1].at, str(back[-1].version))
    if drill is not None and drill.state == "green" and evidence.is_fresh(drill.at, ROLLBACK_DAYS):
        return half(f"the newest drill is more than {DRILL_DAYS} days ago: {drill.detail}", drill.at, f"ledger entry {drill.seq}")
    return unknown("no drill and no rollback within a year" if drill is None else f"the drill says {drill.state}: {drill.detail}")


TESTS = (
    Test(
        "infrastructure.1",
        "Does training again give the same model?",
        f"1: the version in production was trained again from its record within {REBUILD_DAYS} days, and came out the same. ½: another.",
        "`brandhouse replay PREDICTION_ID --retrain`",
        0.5,
        reproducible,
    ),
    Test(
        "infrastructure.2",
        "Is the code tested that builds estimators?",
        "1: as for features, for `build_estimator`. ½: as there, or `brandhouse check` fitted every candidate on made-up rows.",
        "write a test in the brand's `tests/`, then `brandhouse readiness BRAND --try-tests`",
        1.5,
        specified,
    ),
    Test(
        "infrastructure.3",
        "Is the whole way from data to version walked as a test?",
        f"1: the newest training, within {RUN_DAYS} days and with the present code, ended well; a workflow trains at changes. ½: in part.",
        "`brandhouse train BRAND/MODEL`, or with `--dry-run`",
        0.5,
        integrated,
    ),
    Test(
        "infrastructure.4",
        "Is a version judged before it serves?",
        "1: the version in production passed its gates and was not forced.",
        "train, and let the gates decide",
        1.0,
        validated,
    ),
    Test(
        "infrastructure.5",
        "Can one answer be followed step by step?",
        "1: the check skew computed logged answers of the version again, one by one, when it was due. ½: of another version, or late.",
        "let the monitor run where there is traffic: `brandhouse monitor BRAND/MODEL`",
        0.5,
        debuggable,
    ),
    Test(
        "infrastructure.6",
        "Does a new version meet few requests before it meets all?",
        "1: the version in production was canary before, put there by the template. ½: by hand, or shadow only.",
        'set `trial.first_stage = "canary"`; retrained versions are tried anyway',
        2.0,
        canaried,
    ),
    Test(
        "infrastructure.7",
        "Does the way back work, and quickly?",
        f"1: a drill within {DRILL_DAYS} days was green. ½: an older one, or a rollback within a year.",
        "`brandhouse drill BRAND/MODEL` with a gateway running and an earlier version",
        0.5,
        reversible,
    ),
)
