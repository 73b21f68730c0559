"""Plan, apply, drift and destroy with a real Terraform, on its built-in resource: what is refused, recorded and kept."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fixtures.infra_house import write_brand, write_house
from tests.fixtures.plain_target import PlainTarget

from brandhouse_infra.deployment import PLAN_FILE, Deployment, HalfAppliedError, NoPlanError, Planned
from brandhouse_infra.environments import read_environments
from brandhouse_infra.plans import PlanRefusedError
from brandhouse_infra.terraform import StateLockedError, find_terraform
from brandhouse_infra.workplace import Workplace, sha256_of
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.records import Entry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Bench:
    """A house on the plain target, its deployment, and what was recorded."""

    def __init__(self, root: Path) -> None:
        self.settings = write_house(root, ["casa", "villa"])
        self.target = PlainTarget(self.settings.brands_dir)
        self.entries: list[Entry] = []
        environment = read_environments(root)["production"]
        self.work = Workplace(self.settings, self.target, environment, root / "home" / "infra" / "plain" / "production")
        self.deployment = Deployment(self.work, self.entries.append, "tester", NOW, lock_seconds=0)

    def plan(self, tenant: str = "casa") -> Planned:
        (planned,) = self.deployment.plan([tenant])
        if isinstance(planned, BrandhouseError):
            raise planned
        return planned

    def deploy(self, tenant: str = "casa") -> None:
        self.plan(tenant)
        self.deployment.apply(tenant)

    def write(self, name: str, text: str, tenant: str = "casa") -> None:
        (self.settings.brands_dir / tenant / name).write_text(text)

    def folder(self, tenant: str = "casa") -> Path:
        return self.work.output / "stacks" / tenant

    def states(self, tenant: str = "casa") -> list[str]:
        return [entry.state for entry in self.entries if entry.brand == tenant]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "work")


def test_only_what_was_planned_is_applied_and_all_of_it_is_recorded(bench: Bench) -> None:
    with pytest.raises(NoPlanError, match="infra plan casa"):
        bench.deployment.apply("casa")
    planned = bench.plan()
    assert str(planned.plan) == "2 to add" and planned.file
    assert (planned.file.stat().st_mode & 0o777) == 0o600, "a plan holds what the state holds"
    assert bench.deployment.apply("casa").done == ("terraform_data.store", "terraform_data.part")
    assert not bench.plan().plan.does_something, "a second apply would change something"
    assert bench.states() == ["planned", "applied", "planned"]
    assert bench.entries[1].name == "plain/production" and bench.entries[1].facts["create"] == 2


def test_a_plan_of_other_code_or_with_other_bytes_is_not_applied(bench: Bench) -> None:
    bench.plan()
    bench.write("part", "echo later")
    with pytest.raises(NoPlanError, match="another state of the code"):
        bench.deployment.apply("casa")
    bench.plan()
    with (bench.folder() / PLAN_FILE).open("ab") as plan:
        plan.write(b"x")
    with pytest.raises(NoPlanError, match="not the one that was made"):
        bench.deployment.apply("casa")
    assert "applied" not in bench.states()


def test_a_plan_that_breaks_a_rule_cannot_be_applied(bench: Bench) -> None:
    bench.target.broken_rule = "the store is public"
    planned = bench.plan()
    assert planned.breaches == ("the store is public",) and planned.file is None
    with pytest.raises(NoPlanError):
        bench.deployment.apply("casa")


def test_data_ends_only_for_a_leaving_brand_whose_name_was_typed(bench: Bench) -> None:
    bench.deploy()
    bench.write("store", "2")
    with pytest.raises(PlanRefusedError, match="leaving = true"):
        bench.plan()  # Terraform itself refuses first
    assert bench.states()[-1] == "refused"
    write_brand(bench.settings.root, "casa", leaving=True)
    bench.plan()
    with pytest.raises(PlanRefusedError, match=r"replace terraform_data\.store"):
        bench.deployment.apply("casa")
    assert bench.states()[-1] == "refused"
    bench.deployment.apply("casa", confirmed="casa")
    assert bench.states()[-1] == "applied"


@pytest.mark.slow
def test_a_stack_ends_only_when_its_store_is_empty(bench: Bench) -> None:
    bench.deploy()
    before = sha256_of(bench.folder() / "terraform.tfstate")
    with pytest.raises(PlanRefusedError, match="leaving = true"):
        bench.deployment.destroy("casa", confirmed="casa")
    write_brand(bench.settings.root, "casa", leaving=True)
    bench.target.left = "objects in its bucket"
    with pytest.raises(NoPlanError, match="objects in its bucket"):
        bench.deployment.destroy("casa", confirmed="casa")
    with pytest.raises(PlanRefusedError, match="--confirm casa"):
        bench.deployment.destroy("casa", confirmed="villa")
    assert sha256_of(bench.folder() / "terraform.tfstate") == before, "something was changed before the refusal"
    bench.target.left = ""
    bench.deployment.destroy("casa", confirmed="casa")
    assert bench.states()[-1] == "destroyed"


def test_a_failed_apply_says_what_was_done_and_the_next_does_only_the_rest(bench: Bench) -> None:
    bench.write("part", "exit 3")
    bench.plan()
    with pytest.raises(HalfAppliedError) as raised:
        bench.deployment.apply("casa")
    assert raised.value.done == ("terraform_data.store",) and raised.value.left == ("terraform_data.part",)
    assert bench.entries[-1].state == "failed" and bench.entries[-1].facts["left"] == ["terraform_data.part"]
    bench.write("part", "true")
    planned = bench.plan()
    assert [change.address for change in planned.plan.changes if change.action not in ("nothing", "read")] == ["terraform_data.part"]


@pytest.mark.slow
def test_a_locked_state_is_told_and_left_alone(bench: Bench) -> None:
    bench.deploy()
    bench.write("part", "touch started; sleep 30")
    bench.plan()
    command = [*find_terraform().command, "apply", "-input=false", PLAN_FILE]
    with subprocess.Popen(command, cwd=bench.folder(), stdout=subprocess.DEVNULL) as other:
        _wait_for(bench.folder() / "started")
        with pytest.raises(StateLockedError, match=r"casa: the state is locked \(lock [0-9a-f-]+\)"):
            bench.plan()
        assert not bench.plan("villa").breaches, "a lock of casa held up villa"
        other.kill()


@pytest.mark.slow
def test_one_brands_work_leaves_the_others_files_and_state_as_they_were(bench: Bench) -> None:
    bench.deploy("villa")
    before = {path: path.read_bytes() for path in bench.folder("villa").iterdir() if path.is_file()}
    bench.write("part", "exit 3")
    bench.plan()
    with pytest.raises(HalfAppliedError):
        bench.deployment.apply("casa")
    assert {path: path.read_bytes() for path in bench.folder("villa").iterdir() if path.is_file()} == before
    assert bench.states("villa") == ["planned", "applied"]


@pytest.mark.slow
def test_drift_is_found_recorded_and_not_repaired(bench: Bench) -> None:
    bench.deploy()
    (found,) = bench.deployment.drift(["casa"])
    assert isinstance(found, Planned) and not found.plan.does_something
    bench.write("part", "echo changed")
    (found,) = bench.deployment.drift(["casa"])
    assert isinstance(found, Planned) and found.plan.does_something
    assert bench.states()[-2:] == ["clean", "drifted"]
    with pytest.raises(NoPlanError):
        bench.deployment.apply("casa")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists(), f"{path} did not appear"
