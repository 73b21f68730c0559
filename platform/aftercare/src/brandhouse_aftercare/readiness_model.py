"""The seven tests of how a model is made."""

from itertools import combinations

from brandhouse_aftercare.readiness_answers import Answer, Test, full, half, not_applicable, of_production, refuted, unknown
from brandhouse_aftercare.readiness_evidence import Evidence
from brandhouse_aftercare.staleness import CURVE
from brandhouse_shared.config import Privacy
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.metrics import METRICS

CURVE_DAYS = 180
MIN_VERSIONS = 3
"""Fewer points have no order that says anything."""

FAIRNESS = "fairness"
"""Name of the gate over groups of people."""


@of_production
def reviewed(evidence: Evidence, version: Version) -> Answer:
    """What made the version is in Git, and its owner had to agree."""
    record = version.record
    at, link = record.created_at, str(version.key)
    if record.git_dirty or len(record.git_commit) != 40:
        return refuted(f"{version.key} was trained from files that were not committed", at, link)
    folder = f"/brands/{evidence.key.brand}/"
    owner = next((line.split()[1:] for line in reversed(evidence.repository.owners) if line.split()[0] == folder), [])
    if not owner:
        return half(f"trained at commit {record.git_commit[:12]}; CODEOWNERS names nobody for {folder}", at, link)
    return full(f"trained at commit {record.git_commit[:12]}; changes in {folder} need {' or '.join(owner)}", at, ".github/CODEOWNERS")


def correlated(evidence: Evidence) -> Answer:
    """Versions that are better on the hold-out are better for users."""
    if not evidence.brand.config.capabilities.gets_labels:
        return not_applicable("the brand learns no truth (gets_labels = false)")
    live = {entry.number: entry for entry in evidence.quality if entry.number is not None}
    offline = {result.number: result.score for result in evidence.results.values() if result.number is not None}
    known = [(offline[number], float(entry.value or 0.0)) for number, entry in live.items() if number in offline]
    if not known:
        return unknown("no version was measured on true labels")
    newest = max(live.values(), key=lambda entry: entry.at)
    if len(known) < MIN_VERSIONS:
        if newest.state != "green":
            return unknown(f"{len(known)} of {MIN_VERSIONS} versions measured on true labels; the newest is {newest.state}", newest.at)
        return half(
            f"{len(known)} of {MIN_VERSIONS} versions measured on true labels, near the hold-out", newest.at, f"ledger entry {newest.seq}"
        )
    pairs = [(a[0] - b[0]) * (a[1] - b[1]) for a, b in combinations(known, 2)]
    agree, differ = sum(one > 0 for one in pairs), sum(one < 0 for one in pairs)
    found = f"of {len(pairs)} pairs of {len(known)} versions, {agree} are in the same order on the hold-out and on true labels"
    return (full if agree > differ else refuted)(found, newest.at, f"ledger entry {newest.seq}")


@of_production
def tuned(evidence: Evidence, version: Version) -> Answer:
    """Hyperparameters were searched."""
    result = evidence.results.get(version.record.run_id)
    if result is None:
        return unknown(f"what the training of {version.key} tried is not on record")
    declared = len(evidence.model.candidates)
    found = f"{result.trials} sets of parameters tried, {declared} of them as declared"
    if result.trials > declared:
        return full(found, result.recorded_at, str(version.key))
    if result.trials > 1:
        return half(f"{found}; nothing was searched", result.recorded_at, str(version.key))
    return unknown("there was nothing to choose from: one candidate without a space", result.recorded_at, str(version.key))


def aged(evidence: Evidence) -> Answer:
    """What age costs is known."""
    curve = evidence.marks.get(CURVE)
    if curve is not None and not curve.facts.get("points"):
        curve = None
    if curve is not None and evidence.is_fresh(curve.at, CURVE_DAYS):
        return full(curve.detail, curve.at, f"ledger entry {curve.seq}")
    compared = [
        result
        for result in evidence.results.values()
        if any(gate.get("name") == "production" and gate.get("value") is not None for gate in result.gates)
    ]
    recent = [result for result in compared if evidence.is_fresh(result.recorded_at, CURVE_DAYS)]
    if len(recent) >= MIN_VERSIONS:
        newest = max(recent, key=lambda result: result.recorded_at)
        return full(f"{len(recent)} retrainings compared an older version with a new one", newest.recorded_at, f"run {newest.run_id}")
    if curve is not None:
        return half(f"a back-test of more than {CURVE_DAYS} days ago: {curve.detail}", curve.at, f"ledger entry {curve.seq}")
    if recent:
        return half(f"{len(recent)} of {MIN_VERSIONS} retrainings compared an older version with a new one", recent[0].recorded_at)
    return unknown("neither a back-test of age nor a comparison of an older version with a new one is on record")


@of_production
def not_simpler(evidence: Evidence, version: Version) -> Answer:
    """Nothing simpler does as well."""
    gate, at, link = evidence.gate("baseline"), version.record.created_at, str(version.key)
    if gate.get("passed") is True:
        return full(str(gate["detail"]), at, link)
    if gate.get("applicable", True) and gate:
        return refuted(f"gate baseline: {gate['detail']}", at, link)
    if version.record.kind == "baseline":
        return refuted(f"{version.key} is itself the simplest answer there is", at, link)
    sign = 1 if METRICS[version.record.metric].greater_is_better else -1
    if sign * version.record.score > sign * version.record.baseline_score:
        return half("better than the baseline, but no gate asks how sure that is", at, link)
    return refuted("no better than the baseline", at, link)


@of_production
def sliced(evidence: Evidence, version: Version) -> Answer:
    """It is good enough where it matters, not on the whole only."""
    gate, at, link = evidence.gate("slices"), version.record.created_at, str(version.key)
    if gate.get("passed") is False:
        return refuted(f"gate slices: {gate['detail']}", at, link)
    if gate.get("passed") is None:
        return unknown(str(gate.get("detail") or "no slices are declared"), at, link)
    judged = sum(bool(one.get("judged")) for one in version.record.slices)
    found = f"{judged} of {len(version.record.slices)} slices judged; {gate['detail']}"
    return (full if judged * 2 > len(version.record.slices) else half)(found, at, link)


@of_production
def inclusive(evidence: Evidence, version: Version) -> Answer:
    """Groups of people are treated alike."""
    gate, at, link = evidence.gate(FAIRNESS), version.record.created_at, str(version.key)
    if gate.get("passed") is True:
        return full(str(gate["detail"]), at, link)
    if gate.get("passed") is False:
        return refuted(f"gate fairness: {gate['detail']}", at, link)
    people = {name for name, field in evidence.model.inputs.items() if field.privacy is not Privacy.PUBLIC}
    judged = sorted({str(one.get("column")) for one in version.record.slices if one.get("judged")} & people)
    if judged:
        return half(f"the score is broken down by {', '.join(judged)}; no gate compares groups", at, link)
    return unknown("no gate compares groups of people, and no slice is by a field about people", at, link)


TESTS = (
    Test(
        "model.1",
        "Is every version made of reviewed code?",
        "1: trained from a clean commit, and CODEOWNERS names the brand's owner. ½: nobody has to agree.",
        "commit before training; `brandhouse owners --write`",
        0.5,
        reviewed,
    ),
    Test(
        "model.2",
        "Does a better score on the hold-out mean better answers for users?",
        f"1: of {MIN_VERSIONS} or more versions measured on true labels, most pairs keep the hold-out's order. ½: fewer, the newest green.",
        "bring labels back (`POST .../labels`) and let the monitor measure some versions",
        6.0,
        correlated,
    ),
    Test(
        "model.3",
        "Were hyperparameters tuned?",
        "1: the version's training searched beyond the declared candidates. ½: it compared candidates only.",
        "declare `space` for a candidate in brand.toml, and train",
        1.0,
        tuned,
    ),
    Test(
        "model.4",
        "Is it known what an old model costs?",
        f"1: a back-test of age within {CURVE_DAYS} days, or {MIN_VERSIONS} retrainings that compared old and new. ½: older, or fewer.",
        "`brandhouse staleness BRAND/MODEL`, or retrain",
        0.5,
        aged,
    ),
    Test(
        "model.5",
        "Is no simpler model as good?",
        "1: the baseline gate passed: the gain is above zero with confidence. ½: better, but nobody asked how sure that is.",
        "leave `gates.beat_baseline` on, and train",
        0.5,
        not_simpler,
    ),
    Test(
        "model.6",
        "Is it good enough on each part of the data that matters?",
        "1: the slices gate passed, and most slices were judged. ½: few of them.",
        "name columns in `slices` of brand.toml, and train",
        1.0,
        sliced,
    ),
    Test(
        "model.7",
        "Was it tried on groups of people?",
        "1: the fairness gate passed. ½: the score is broken down by a field about people.",
        "name the fields in `[models.MODEL.fairness]`, and train",
        4.0,
        inclusive,
    ),
)
