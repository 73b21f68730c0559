"""What an earlier training of the same inputs left: nothing to do, the rest to do, or everything again."""

from brandhouse_flows.planning import Plan
from brandhouse_flows.registration import BASELINE_PREFIX, promote_if_allowed, promote_model_zero
from brandhouse_shared.artifacts import ArtifactStore
from brandhouse_shared.errors import ArtifactCorruptError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage


def find_finished(plan: Plan, ledger: Ledger, store: ArtifactStore, fingerprint: str) -> Version | None:
    """Return the version that an earlier training made from these inputs, so that nothing is left to train.

    If that training was killed after it had registered the version, its promotion or its model zero is made up for.

    Returns:
        None if these inputs were never trained on, the stored artifact is missing or altered, or a killed training left
        the model without the baseline that should serve.
    """
    known = ledger.find_by_fingerprint(plan.key, fingerprint)
    if known is None or not _is_intact(known, store):
        return None
    production = ledger.production(plan.key)
    if known.record.gates_passed:
        if known.stage is Stage.CANDIDATE and (production is None or production.number < known.number):
            promote_if_allowed(plan, ledger, known.key, passed=True)
    elif production is None and not _has_model_zero(plan, ledger, fingerprint):
        return None
    return ledger.find_version(known.key)


def _is_intact(version: Version, store: ArtifactStore) -> bool:
    try:
        store.find(version.record.key, version.record.artifact_digest)
    except ArtifactCorruptError:  # training again is what its message advises
        return False
    return True


def _has_model_zero(plan: Plan, ledger: Ledger, fingerprint: str) -> bool:
    zero = ledger.find_by_fingerprint(plan.key, BASELINE_PREFIX + fingerprint)
    if zero is not None and zero.stage is Stage.CANDIDATE:
        promote_model_zero(plan, ledger, zero.key, zero.record.candidate_name)
    return zero is not None
