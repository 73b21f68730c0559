"""Is a brand as good after an upgrade as before? Tried in a copy beside the brands, trained and judged without registering.

The copy has the brand's code and declaration and no data of its own: these come from the brand's snapshots by hash.
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from brandhouse_authoring.unfinished import unfinished_folder
from brandhouse_authoring.upgrading import Upgrade, plan_upgrade, write_upgrade
from brandhouse_flows.data_project import DataProject
from brandhouse_flows.gates import GateResult
from brandhouse_flows.inspection import inspect_folder
from brandhouse_flows.learning import rehearse
from brandhouse_flows.planning import Plan, plan_training
from brandhouse_flows.steps import Step
from brandhouse_flows.wishes import Wishes
from brandhouse_shared.artifacts import ArtifactStore
from brandhouse_shared.brands import Brand, code_digest, read_brand, unload_brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the hold-out and the gates say of one state of a model.

    Attributes:
        how: "trained" here, or "recorded" with the version in production, which was made from the same inputs.
        low: Lower end of the score's interval; None if unknown.
        high: Upper end.
        gates: Name to passed, failed, unknown or not applicable.
    """

    how: str
    metric: str
    score: float
    low: float | None
    high: float | None
    gates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """One model before and after.

    Attributes:
        before: None if the upgrade changes nothing that is trained.
        after: None likewise.
    """

    model: str
    before: Judgement | None
    after: Judgement | None

    @property
    def lost_gates(self) -> list[str]:
        """Gates that passed before and do not pass any more."""
        if self.before is None or self.after is None:
            return []
        after = self.after.gates
        return [
            gate for gate, outcome in self.before.gates.items() if outcome == "passed" and after.get(gate) in ("failed", "unknown", None)
        ]

    def as_document(self) -> dict[str, Any]:
        """The trial as plain values."""
        return {**asdict(self), "lost_gates": self.lost_gates}


@dataclass(frozen=True, slots=True)
class Trial:
    """One brand before and after.

    Attributes:
        problems: What `brandhouse check` finds in the upgraded folder and did not find before.
        models: Of all models.
    """

    problems: tuple[str, ...]
    models: tuple[ModelTrial, ...]

    @property
    def reasons_to_stop(self) -> list[str]:
        """What became worse, one sentence each."""
        lost = [f"{trial.model}: gate {gate} passed before and does not any more" for trial in self.models for gate in trial.lost_gates]
        return [*(f"check: {problem}" for problem in self.problems), *lost]


def try_upgrade(settings: Settings, upgrade: Upgrade, ledger: Ledger, store: ArtifactStore, step: Step) -> Trial:
    """Upgrade a copy of the brand, and compare check, score and gates of all its models with those of today.

    Raises:
        BrandhouseError: If the brand cannot be trained as it is today, or not after the upgrade.
    """
    today = read_brand(upgrade.folder)
    with _copy_of(settings, today) as folder:
        write_upgrade(settings, plan_upgrade(settings, upgrade.brand, folder=folder))
        problems = _new_problems(settings, today.folder, folder)
        if problems:
            return Trial(tuple(problems), ())
        upgraded = read_brand(folder)
        try:
            models = [_try_model(settings, key, today, upgraded, ledger, store, step) for key in today.model_keys]
        finally:
            unload_brand(today.name)
    return Trial((), tuple(models))


@contextmanager
def _copy_of(settings: Settings, brand: Brand) -> Iterator[Path]:
    tables = {Path(dataset.file).parts[1] for dataset in brand.config.datasets.values()}

    def left_out(folder: str, names: Sequence[str]) -> list[str]:
        dropped = {brand.folder / "data": tables, brand.folder / ".dvc": {"tmp", "cache"}}.get(Path(folder), set())
        return [name for name in names if name in dropped or name == "__pycache__"]

    with unfinished_folder(settings, brand.name, is_new=False) as folder:
        shutil.copytree(brand.folder, folder, ignore=left_out, dirs_exist_ok=True)
        yield folder


def _new_problems(settings: Settings, before: Path, after: Path) -> list[str]:
    known = {(problem.rule_id, problem.what) for problem in inspect_folder(before, settings)}
    found = inspect_folder(after, settings)
    return [
        f"{problem.where}: {problem.what}"
        for problem in found
        if problem.severity == "error" and (problem.rule_id, problem.what) not in known
    ]


def _try_model(
    settings: Settings, key: ModelKey, today: Brand, upgraded: Brand, ledger: Ledger, store: ArtifactStore, step: Step
) -> ModelTrial:
    before, after = _plan(settings, key, today), _plan(settings, key, upgraded)
    dataset = before.model.dataset
    snapshot = DataProject(today, settings).pointer(dataset).hash_md5
    if before.fingerprint(snapshot) == after.fingerprint(snapshot):
        return ModelTrial(key.model, None, None)
    production = ledger.production(key)
    recorded = production is not None and production.record.fingerprint == before.fingerprint(snapshot)
    first = _recorded(production) if recorded and production else step(f"{key} before", _judge, before, ledger, store, step)
    return ModelTrial(key.model, first, step(f"{key} after", _judge, after, ledger, store, step))


def _plan(settings: Settings, key: ModelKey, brand: Brand) -> Plan:
    plan = plan_training(settings, key, str(uuid.uuid4()), "local", Wishes(dry=True))
    return replace(plan, brand=brand, model=brand.model(key.model), code_digest=code_digest(brand))


def _judge(plan: Plan, ledger: Ledger, store: ArtifactStore, step: Step) -> Judgement:
    found = rehearse(plan, ledger, store, step)
    report = found.report
    return Judgement("trained", report.metric, report.score, report.low, report.high, {gate.name: gate.outcome for gate in found.gates})


def _recorded(version: Version) -> Judgement:
    record = version.record
    gates = {str(gate["name"]): _outcome(gate) for gate in record.gates}
    return Judgement("recorded", record.metric, record.score, record.score_low, record.score_high, gates)


def _outcome(gate: Mapping[str, Any]) -> str:
    """A recorded gate's outcome, in the words of a fresh one."""
    known = {field.name for field in fields(GateResult)}
    return GateResult(**{key: value for key, value in gate.items() if key in known}).outcome
