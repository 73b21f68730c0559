"""What readiness is judged by, read once: a dozen queries for the whole house, a few for each model, and files of the repository."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from brandhouse_aftercare.commit_times import read_commit_times
from brandhouse_aftercare.dead_man import due_time
from brandhouse_flows.checks.clean_runs import run_digest, was_clean
from brandhouse_shared.brands import Brand, code_digest
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind, FallbackRecord, Run, RunResult, StageEvent, Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

MANY = 100_000
CLOCK = timedelta(minutes=5)
"""What is dated further ahead than this counts for nothing: some clock was wrong."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What the repository itself shows.

    Attributes:
        steps: Lines of its workflows, without comments.
        owners: Lines of CODEOWNERS, without comments.
        has_dependabot: Whether dependencies are watched.
        committed: Commit to its time, as far as Git knows it.
    """

    steps: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    has_dependabot: bool = False
    committed: Mapping[str, datetime] = field(default_factory=dict)

    def runs(self, *words: str) -> bool:
        """Whether one line of a workflow holds all these words: something that runs by itself at each change."""
        return any(all(word in step for word in words) for step in self.steps)


@dataclass(frozen=True, slots=True)
class BrandCode:
    """A brand's code and tests as they lie there now.

    Attributes:
        digest: Of its code.
        tests: File below `tests/` to text.
        is_checked: Whether `brandhouse check` ran this code on made-up rows and found nothing.
    """

    digest: str
    tests: Mapping[str, str]
    is_checked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one model.

    Attributes:
        version: In production; None: none is.
        runs: Newest first.
        results: Run to what it measured.
        events: Stage events, oldest first.
        checks: Check to its newest entry; the same for `marks`, `drills` and `costs` by their names.
        proofs: Newest entries of kind evidence, of the model and of its brand.
        quality: Newest entry with a score of the check of that name, of each version, newest first.
        alerts: Newest entry of each check of the brand.
        fallbacks: Newest first.
    """

    brand: Brand
    key: ModelKey
    now: datetime
    repository: Repository
    code: BrandCode
    version: Version | None = None
    runs: Sequence[Run] = ()
    results: Mapping[str, RunResult] = field(default_factory=dict)
    events: Sequence[StageEvent] = ()
    checks: Mapping[str, Entry] = field(default_factory=dict)
    marks: Mapping[str, Entry] = field(default_factory=dict)
    drills: Mapping[str, Entry] = field(default_factory=dict)
    costs: Mapping[str, Entry] = field(default_factory=dict)
    proofs: Mapping[str, Entry] = field(default_factory=dict)
    quality: Sequence[Entry] = ()
    alerts: Sequence[Entry] = ()
    fallbacks: Sequence[FallbackRecord] = ()

    @property
    def model(self) -> ModelConfig:
        """What is declared of the model."""
        return self.brand.model(self.key.model)

    def is_fresh(self, at: datetime | None, days: float) -> bool:
        """Whether something happened within so many days, and not after now."""
        return at is not None and -CLOCK <= self.now - at <= timedelta(days=days)

    def is_on_time(self, entry: Entry) -> bool:
        """Whether a check ran when its monitor's schedule last asked for it, or since."""
        due = due_time(self.model.monitoring.schedule_of(self.key), self.now)
        return due <= entry.at <= self.now + CLOCK

    def gate(self, name: str) -> Mapping[str, Any]:
        """A gate of the version in production as the ledger keeps it; empty if it has none of that name."""
        gates = () if self.version is None else self.version.record.gates
        return next((gate for gate in gates if gate.get("name") == name), {})

    @property
    def described(self) -> Mapping[str, Mapping[str, Any]]:
        """Statistics of each field that the version in production learned from; empty if there are none."""
        fields: Any = None if self.version is None else self.version.record.feature_statistics.get("fields")
        return fields or {}

    @property
    def promotions(self) -> list[StageEvent]:
        """Entries into production, oldest first; rollbacks are none."""
        return [event for event in self.events if event.to is Stage.PRODUCTION and event.cause != "rolled_back"]

    def run_of(self, number: int) -> Run | None:
        """The run that made a version."""
        made = {run_id for run_id, result in self.results.items() if result.number == number}
        return next((run for run in reversed(self.runs) if run.record.run_id in made), None)


def read_evidence(settings: Settings, ledger: Ledger, brands: Iterable[Brand], now: datetime) -> list[Evidence]:
    """Read what is known of all models of these brands.

    Args:
        settings: Where things are.
        ledger: Is only read.
        brands: Those that can be read.
        now: Aware, UTC.
    """
    brands = list(brands)
    newest = {kind: _by_model(ledger.newest_entries(kind)) for kind in _KINDS}
    alerts = ledger.newest_entries(EntryKind.ALERT)
    production = ledger.production_versions()
    quality = ledger.measured_entries(EntryKind.CHECK, "quality")
    events, runs, fallbacks = ledger.stage_events(limit=MANY), ledger.runs(limit=MANY), ledger.fallbacks(limit=MANY)
    repository = read_repository(settings.root, [run.record.git_commit for run in runs])
    found = []
    for brand in brands:
        code = read_code_of(settings, brand)
        of_brand = newest[EntryKind.EVIDENCE].get((brand.name, ""), {})
        for key in brand.model_keys:
            own = {kind: entries.get((key.brand, key.model), {}) for kind, entries in newest.items()}
            found.append(
                Evidence(
                    brand=brand,
                    key=key,
                    now=now,
                    repository=repository,
                    code=code,
                    version=production.get(key),
                    runs=[run for run in runs if run.record.key == key],
                    results=ledger.results(key),
                    events=[event for event in events if event.version.model_key == key],
                    checks=own[EntryKind.CHECK],
                    marks=own[EntryKind.MARK],
                    drills=own[EntryKind.DRILL],
                    costs=own[EntryKind.COST],
                    proofs=of_brand | own[EntryKind.EVIDENCE],
                    quality=[entry for entry in quality if (entry.brand, entry.model) == (key.brand, key.model)],
                    alerts=[entry for entry in alerts if entry.brand == brand.name],
                    fallbacks=[one for one in fallbacks if one.key == key],
                )
            )
    return found


_KINDS = (EntryKind.CHECK, EntryKind.MARK, EntryKind.DRILL, EntryKind.COST, EntryKind.EVIDENCE)


def read_repository(root: Path, commits: Iterable[str] = ()) -> Repository:
    """Read workflows, owners and the times of commits; what is missing is empty."""
    hidden = root / ".github"
    files = sorted((hidden / "workflows").glob("*.y*ml"))
    steps = [line for path in files for line in _lines(path)]
    return Repository(
        steps=tuple(steps),
        owners=tuple(_lines(hidden / "CODEOWNERS")),
        has_dependabot=(hidden / "dependabot.yml").is_file(),
        committed=read_commit_times(root, commits),
    )


def read_code_of(settings: Settings, brand: Brand) -> BrandCode:
    """Read a brand's code and tests. Nothing is run."""
    folder = brand.folder / "tests"
    tests = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("test_*.py")}
    return BrandCode(code_digest(brand), tests, was_clean(settings, brand, run_digest(brand)))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [line for line in bare if line]


def _by_model(entries: Iterable[Entry]) -> dict[tuple[str, str], dict[str, Entry]]:
    found: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries:
        found.setdefault((entry.brand, entry.model), {})[entry.name] = entry
    return found
