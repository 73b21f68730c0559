"""AWS stacks checked offline by a real Terraform, with the schema rebuilt from the installed bindings; and that each check can fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.infra_house import write_house

from brandhouse_infra.costs.estimates import resources_of_plan
from brandhouse_infra.policing.rules import find_breaches
from brandhouse_infra.providers.schema_replica.extraction import Bindings, BindingsError
from brandhouse_infra.terraform import Terraform, find_terraform
from brandhouse_infra.workplace import Workplace
from brandhouse_shared.settings import Settings

pytestmark = pytest.mark.slow

TENANTS = ("auto", "auto_deals", "platform")
Change = Callable[[dict[str, Any]], object]


class Offline:
    """Written stacks, and a Terraform that has the schema at hand."""

    def __init__(self, settings: Settings, terraform: Terraform) -> None:
        self.work = Workplace.of(settings, "aws", "production")
        self.terraform = terraform
        stacks = self.work.stacks(TENANTS)
        self.work.write(stacks)
        self.folders = {stack.name: self.work.prepare_offline(stack) for stack in stacks}
        self.variables: Mapping[str, str] = {}

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.variables}
        command = [*self.terraform.command, *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def plan(self, name: str) -> dict[str, Any]:
        folder = self.folders[name]
        self.terraform.run(name, folder, "init", "-no-color", variables=self.variables)
        self.terraform.run(name, folder, "plan", "-no-color", "-out=p", variables=self.variables)
        return self.terraform.show(name, folder, folder / "p", variables=self.variables)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    settings = write_house(tmp_path_factory.mktemp("house") / "work")
    bench = Offline(settings, find_terraform())
    with bench.work.target.session(settings, bench.work.environment, list(bench.folders.values()), offline=True) as variables:
        bench.variables = variables
        yield bench


@pytest.fixture
def altered(offline: Offline, tmp_path: Path) -> Callable[[Change], subprocess.CompletedProcess[str]]:
    """Validate auto_deals' stack after a change of it."""

    def validate(change: Change) -> subprocess.CompletedProcess[str]:
        shutil.copytree(offline.folders["auto_deals"], tmp_path / "stack", ignore=shutil.ignore_patterns(".terraform*", "p"))
        file = tmp_path / "stack" / "cdk.tf.json"
        document = json.loads(file.read_text())
        change(document["resource"])
        file.write_text(json.dumps(document))
        offline.run(tmp_path / "stack", "init", "-no-color")
        return offline.run(tmp_path / "stack", "validate", "-no-color")

    return validate


def test_all_kinds_of_stacks_are_valid_and_plan_and_keep_the_rules(offline: Offline) -> None:
    for name in offline.folders:
        resources = resources_of_plan(offline.plan(name))
        assert len(resources) > 20, f"{name} plans {len(resources)} resources"
        assert find_breaches(resources) == [], name


def test_everything_that_can_carry_tags_carries_them(offline: Offline) -> None:
    planned = {one.address: one for name in offline.folders for one in resources_of_plan(offline.plan(name))}
    taggable = [address for address, one in planned.items() if "tags" in one.values]
    assert len(taggable) > 60, "the schema tells of few tags: the rule would be blind"


def test_an_unaltered_stack_is_valid(altered: Callable[[Change], subprocess.CompletedProcess[str]]) -> None:
    done = altered(lambda resources: None)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: r["aws_s3_bucket"]["data"].update(colour="red"),
            "Extraneous JSON object property",
        ),
        (lambda r: r["aws_iam_role"]["worker"].pop("assume_role_policy"), "Missing required argument"),
        (
            lambda r: r["aws_s3_bucket_versioning"]["data"].pop("versioning_configuration"),
            "Insufficient versioning_configuration",
        ),
        (lambda r: r["aws_s3_bucket_versioning"]["data"].update(versioning_configuration=[{"status": "Enabled"}] * 2), "Too many"),
        (lambda r: r["aws_kms_key"]["own"].update(enable_key_rotation=["yes"]), "Incorrect attribute value type|Inappropriate value"),
        (lambda r: r["aws_kms_alias"]["own"].update(target_key_id="${aws_kms_key.own.colour}"), "Unsupported attribute"),
        (lambda r: r["aws_kms_alias"]["own"].update(target_key_id="${aws_kms_key.other.arn}"), "Reference to undeclared resource"),
        (lambda r: r["aws_s3_bucket"]["data"].update(arn="x"), "cannot be set"),
        (
            lambda r: r["aws_s3_bucket_server_side_encryption_configuration"]["data"].update(rule=[{}]),
            "is empty",
        ),
    ],
)
def test_each_mistake_in_a_stack_is_noticed(
    altered: Callable[[Change], subprocess.CompletedProcess[str]], change: Change, said: str
) -> None:
    done = altered(change)
    assert done.returncode != 0, "a mistake was not noticed"
    assert re.search(said, done.stdout + done.stderr), done.stderr[-800:]


@pytest.mark.parametrize(
    ("tenant", "change", "said"),
    [("auto_deals", "", "1 passed"), ("auto", "", "1 passed"), ("auto", "IMMUTABLE", "A tag may mean another image tomorrow")],
)
def test_terraforms_own_tests_run_on_a_stack_and_can_fail(offline: Offline, tmp_path: Path, tenant: str, change: str, said: str) -> None:
    shutil.copytree(offline.folders[tenant], tmp_path / "stack", ignore=shutil.ignore_patterns(".terraform*", "p"))
    shutil.copy(Path(__file__).parents[2] / "infra" / "terraform_tests" / "brand.tftest.hcl", tmp_path / "stack")
    file = tmp_path / "stack" / "cdk.tf.json"
    file.write_text(file.read_text().replace(f'"{change}"', '"MUTABLE"') if change else file.read_text())
    offline.run(tmp_path / "stack", "init", "-no-color")
    done = offline.run(tmp_path / "stack", "test", "-no-color")
    assert said in done.stdout + done.stderr, (done.stdout + done.stderr)[-1500:]
    assert (done.returncode == 0) is (not change)


def test_the_offline_schema_applies_nothing(offline: Offline) -> None:
    offline.plan("auto")
    done = offline.run(offline.folders["auto"], "apply", "-no-color", "p")
    assert done.returncode == 1 and "can neither apply nor read" in done.stderr, done.stderr[-500:]


def test_people_may_use_terraform_in_the_folder_with_the_mirror_alone(offline: Offline, tmp_path: Path) -> None:
    shutil.copytree(offline.folders["auto"], tmp_path / "stack", ignore=shutil.ignore_patterns(".terraform*", "p"))
    variables = {**os.environ, "TF_CLI_CONFIG_FILE": offline.variables["TF_CLI_CONFIG_FILE"], "CHECKPOINT_DISABLE": "1"}
    for step in (["init"], ["validate"], ["plan"]):
        command = [*offline.terraform.command, *step, "-no-color"]
        done = subprocess.run(command, cwd=tmp_path / "stack", env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (step, done.stderr[-800:])


def test_terraform_out_of_the_wheel_validates_and_plans_too(offline: Offline, tmp_path: Path) -> None:
    shutil.copytree(offline.folders["auto"], tmp_path / "stack", ignore=shutil.ignore_patterns(".terraform*", "p"))
    wheel = Terraform((sys.executable, "-m", "brandhouse_infra.wheel_terraform"))
    for step in (("init",), ("validate",), ("plan", "-out=p")):
        wheel.run("auto", tmp_path / "stack", *step, "-no-color", variables=offline.variables)
    assert resources_of_plan(wheel.show("auto", tmp_path / "stack", tmp_path / "stack" / "p", variables=offline.variables))


def test_without_terraform_on_the_path_the_wheels_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_terraform().command[-1] == "brandhouse_infra.wheel_terraform"
    assert find_terraform().version.startswith("1.15")


def test_the_schema_tells_what_the_bindings_do() -> None:
    bindings = Bindings.installed()
    key = bindings.resource("aws_kms_key")
    assert key.attributes["arn"].computed and not key.attributes["arn"].optional
    assert key.attributes["deletion_window_in_days"].type == "number"
    assert key.attributes["tags"].type == ["map", "string"]
    versioning = bindings.resource("aws_s3_bucket_versioning")
    assert versioning.blocks["versioning_configuration"].min_items == versioning.blocks["versioning_configuration"].max_items == 1
    assert bindings.resource("aws_iam_role").attributes["assume_role_policy"].required
    with pytest.raises(BindingsError, match="aws_s3_buckets"):
        bindings.resource("aws_s3_buckets")
