"""The seven tests of data and features."""

from datetime import timedelta
from statistics import median
from typing import Any

from brandhouse_aftercare.readiness_answers import Answer, Test, full, half, of_production, refuted, unknown
from brandhouse_aftercare.readiness_evidence import Evidence
from brandhouse_aftercare.readiness_proofs import BRAND_TESTS
from brandhouse_flows.importance_records import NAME as IMPORTANCE
from brandhouse_shared.config import FieldType, InputField, Privacy
from brandhouse_shared.errors import join_bounded
from brandhouse_shared.ledger.records import Version

COST_DAYS = 35
"""A month and its end."""
QUICK_DAYS = 30
YEAR_DAYS = 365
FINE = frozenset({"deciles", "top", "mean", "min"})
"""Keys of statistics that tell single values."""


@of_production
def schema(evidence: Evidence, version: Version) -> Answer:
    """Every field says what is expected of it, and the version learned under that."""
    unseen = [name for name in evidence.model.inputs if name not in evidence.described]
    vague = [name for name, field in evidence.model.inputs.items() if not _says_what_to_expect(field)]
    at, link = version.record.created_at, str(version.key)
    if unseen:
        return refuted(f"{version.key} was not trained under the present schema: {join_bounded(unseen)} did not exist then", at, link)
    rows, count = version.record.rows_train + version.record.rows_holdout, len(evidence.model.inputs)
    if vague:
        return half(f"{len(vague)} of {count} fields have a type but no range or values: {join_bounded(vague)}", at, link)
    return full(f"{count} fields with type and range or values; all {rows:,} rows were held against them", at, link)


def _says_what_to_expect(field: InputField) -> bool:
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        return field.min is not None or field.max is not None
    return field.type is not FieldType.CATEGORY or field.values is not None


@of_production
def beneficial(evidence: Evidence, version: Version) -> Answer:
    """No feature is carried along that helps nothing."""
    entry = evidence.proofs.get(IMPORTANCE)
    if entry is None or entry.number != version.number:
        return unknown(f"no importance of features is on record for {version.key}")
    facts: dict[str, Any] = dict(entry.facts)
    losses = {name: loss for name, loss in (facts.get("losses") or {}).items() if loss is not None}
    count = int(facts.get("features") or 0)
    idle = sorted(name for name, loss in losses.items() if loss <= 0)
    if not losses:
        return unknown(f"the importance of none of {count} features of {version.key} was measured", entry.at, _ledger(entry.seq))
    if idle or len(losses) < count:
        rest = f"; no loss without {join_bounded(idle)}" if idle else ""
        return half(f"{len(losses)} of {count} features measured{rest}", entry.at, _ledger(entry.seq))
    return full(f"the score suffers without any of {count} features", entry.at, _ledger(entry.seq))


@of_production
def affordable(evidence: Evidence, version: Version) -> Answer:
    """Features cost neither too much time nor too much money."""
    gate, cost = evidence.gate("latency"), evidence.costs.get("serving")
    if gate.get("passed") is False:
        return refuted(f"gate latency: {gate['detail']}", version.record.created_at, str(version.key))
    is_quick = gate.get("passed") is True
    is_counted = cost is not None and evidence.is_fresh(cost.at, COST_DAYS)
    said = [f"latency {gate['detail']}" if is_quick else "no budget of latency", "serving is" if is_counted else "serving is not"]
    text = f"{said[0]}; {said[1]} counted in money"
    if not is_quick and not is_counted:
        return unknown(text)
    at = cost.at if is_counted and cost is not None else version.record.created_at
    return (full if is_quick and is_counted else half)(text, at, str(version.key))


@of_production
def requirements(evidence: Evidence, version: Version) -> Answer:
    """What the house asks of every field holds: no leaks, no foreign code, classes of privacy."""
    gate, at = evidence.gate("leakage"), version.record.created_at
    if gate.get("passed") is False:
        return refuted(f"gate leakage: {gate['detail']}", at, str(version.key))
    if not evidence.code.is_checked:
        return unknown("`brandhouse check` has not passed the present code in this home")
    if gate.get("passed") is None:
        return half("the check passes the present code; the version has no leakage gate", at, str(version.key))
    if not evidence.repository.runs("brandhouse", "check"):
        return half("the check passes the present code, but no workflow runs it", at, ".github/workflows")
    return full("no feature leaks the target, and the check passes the present code at each change", at, ".github/workflows")


@of_production
def private(evidence: Evidence, version: Version) -> Answer:
    """What is about people is marked, kept coarsely, and can be removed."""
    described = evidence.described
    personal = [name for name, field in evidence.model.inputs.items() if field.privacy is not Privacy.PUBLIC]
    missing = [name for name in personal if name not in described]
    fine = [name for name in personal if name not in missing and not described[name].get("coarse") and FINE & set(described[name])]
    at, link = version.record.created_at, str(version.key)
    if not described:
        return unknown(f"{version.key} keeps no statistics", at, link)
    if fine:
        return refuted(f"single values of {join_bounded(fine)} are in the record of {version.key}, though about people", at, link)
    if missing:
        return unknown(f"{version.key} knows nothing of {join_bounded(missing)}", at, link)
    dataset = evidence.brand.config.datasets[evidence.model.dataset]
    if personal and dataset.subject is None:
        return half(f"{len(personal)} fields about people are kept coarsely; without `subject` nobody can be removed", at, link)
    if not personal:
        return full(f"all {len(evidence.model.inputs)} fields are declared public, and the record agrees", at, link)
    return full(f"{len(personal)} fields about people are kept coarsely, and rows can be removed by {dataset.subject}", at, link)


def quick(evidence: Evidence) -> Answer:
    """How long a change of features takes to production."""
    days, newest = [], None
    for before, after in zip(evidence.promotions, evidence.promotions[1:], strict=False):
        old, new = evidence.run_of(before.version.number), evidence.run_of(after.version.number)
        if not evidence.is_fresh(after.at, YEAR_DAYS) or old is None or new is None or old.record.code_digest == new.record.code_digest:
            continue
        begun = evidence.repository.committed.get(new.record.git_commit, new.record.started_at)
        days.append((after.at - begun) / timedelta(days=1))
        newest = after
    if newest is None:
        return unknown("within a year no version with other code went to production, so nobody knows how long that takes")
    found = f"{len(days)} changes of code went to production within a year, in {median(days):.1f} days (median)"
    return (full if median(days) <= QUICK_DAYS else half)(found, newest.at, str(newest.version))


def tested(evidence: Evidence) -> Answer:
    """The code that makes features has tests, and they pass."""
    return answer_of_tests(evidence, "build_features")


def answer_of_tests(evidence: Evidence, function: str) -> Answer:
    """Whether the brand's tests call a function of this model's module, pass on the present code, and run at each change."""
    module = evidence.model.entrypoint.rsplit(".", 1)[-1]
    files = [name for name, text in evidence.code.tests.items() if module in text and function in text]
    if not files:
        return unknown(f"no test of the brand names {module} and {function}", link=f"brands/{evidence.key.brand}/tests")
    entry = evidence.proofs.get(BRAND_TESTS)
    if entry is None:
        return unknown(f"{join_bounded(files)} exist; whether they pass is not on record", link=f"brands/{evidence.key.brand}/tests")
    if entry.state != "passed":
        return refuted(f"the tests failed: {entry.detail}", entry.at, _ledger(entry.seq))
    if entry.facts.get("code_digest") != evidence.code.digest:
        return half(f"the tests passed on other code than today's: {entry.detail}", entry.at, _ledger(entry.seq))
    if not evidence.repository.runs("pytest", "brands"):
        return half(f"{entry.detail}; no workflow runs them", entry.at, _ledger(entry.seq))
    return full(f"{entry.detail}, and a workflow runs them at each change", entry.at, _ledger(entry.seq))


def _ledger(seq: int) -> str:
    return f"ledger entry {seq}"


TESTS = (
    Test(
        "data.1",
        "Is it written down what to expect of every field?",
        "1: every number has a range and every category its values, and the version was trained under it. ½: some have a type only.",
        "give numbers `min` or `max` and categories `values` in brand.toml, then train",
        1.0,
        schema,
    ),
    Test(
        "data.2",
        "Does every feature help?",
        "1: the importance of every feature of the version was measured, and each helps. ½: of some only, or some do not help.",
        "train, read the importance on the card, and drop what does not help",
        4.0,
        beneficial,
    ),
    Test(
        "data.3",
        "Is no feature too dear?",
        f"1: the latency gate passed, and what serving costs was counted within {COST_DAYS} days. ½: one of them.",
        "set `serving.latency_budget_ms` and train; `brandhouse cost --measure`",
        1.0,
        affordable,
    ),
    Test(
        "data.4",
        "Do fields keep to the rules that hold for all?",
        "1: `brandhouse check` passes the present code and a workflow runs it; the leakage gate passed. ½: one part is missing.",
        "run `brandhouse check BRAND` and mend what it names",
        0.5,
        requirements,
    ),
    Test(
        "data.5",
        "Are data about people guarded from end to end?",
        "1: fields about people are marked, kept coarsely in the record, and rows can be removed by `subject`. ½: no `subject`.",
        "set `privacy` of fields and `subject` of the dataset, then train",
        2.0,
        private,
    ),
    Test(
        "data.6",
        "Does a new feature come into use quickly?",
        f"1: changes of code took at most {QUICK_DAYS} days to production (median of a year). ½: longer.",
        "bring a change of `build_features` to production; commits and promotions are timed",
        8.0,
        quick,
    ),
    Test(
        "data.7",
        "Is the code tested that makes features?",
        "1: a test names the model's module and `build_features`, the brand's tests passed on the present code, a workflow runs them. "
        "½: they passed on other code, or no workflow runs them.",
        "write a test in the brand's `tests/`, then `brandhouse readiness BRAND --try-tests`",
        2.0,
        tested,
    ),
)
