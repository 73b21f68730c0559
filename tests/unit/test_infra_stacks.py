"""What the stacks of AWS hold, from the declarations alone: no CDK, no Terraform."""

import json
import sys
from pathlib import Path

import pytest
from tests.fixtures.infra_house import aws_platform, aws_stack, read_house, write_brand, write_house

from brandhouse_infra.blocks import Blocks, empty_blocks
from brandhouse_infra.constructs.data_store import add_encryption
from brandhouse_infra.constructs.secrets import SETTINGS, secret_name
from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.errors import BlockError
from brandhouse_infra.site import BrandPlace, brand_place
from brandhouse_infra.stacks import BrandStack, PlatformStack
from brandhouse_infra.targets.aws import AwsTarget
from brandhouse_shared.settings import Settings
from brandhouse_shared.slugs import slug_of


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return write_house(tmp_path_factory.mktemp("house") / "work")


def test_no_stack_holds_an_empty_block(house: Settings) -> None:
    brands, environment = read_house(house)
    stacks = [*(BrandStack(brand, environment, AwsTarget()) for brand in brands.values()), PlatformStack(environment, AwsTarget())]
    found = {stack.name: empty_blocks(stack.as_document()) for stack in stacks}
    assert not any(found.values()), f"empty blocks: {found}"


def test_a_construct_that_writes_an_empty_block_is_refused_at_once() -> None:
    blocks = Blocks({})
    with pytest.raises(BlockError, match=r"rule\[0\] is empty"):
        blocks.resource("aws_s3_bucket_server_side_encryption_configuration", "data", bucket="x", rule=[{}])
    with pytest.raises(BlockError, match="kms_key_id is empty or null"):
        blocks.resource("aws_cloudwatch_log_group", "x", kms_key_id=None)


def test_an_address_is_declared_once() -> None:
    blocks = Blocks({})
    blocks.resource("aws_kms_key", "own", description="x")
    with pytest.raises(BlockError, match="declared twice"):
        blocks.resource("aws_kms_key", "own", description="y")


def test_what_is_in_a_list_of_blocks_reaches_terraform() -> None:
    blocks = Blocks({})
    key = blocks.resource("aws_kms_key", "own", description="x")
    add_encryption(blocks, "data", blocks.resource("aws_s3_bucket", "data", bucket="b"), key)
    rule = blocks.as_document({})["resource"]["aws_s3_bucket_server_side_encryption_configuration"]["data"]["rule"][0]
    assert rule["apply_server_side_encryption_by_default"]["kms_master_key_id"] == "${aws_kms_key.own.arn}", rule


def test_a_brand_of_the_pool_has_no_tasks_and_a_silo_brand_has_its_own(house: Settings) -> None:
    brands, environment = read_house(house)
    pool = {resource.kind for resource in aws_stack(brands["auto"], environment)}
    silo = {resource.kind for resource in aws_stack(brands["auto_deals"], environment)}
    own = {"aws_ecs_cluster", "aws_ecs_service", "aws_efs_file_system", "aws_security_group", "aws_lb_target_group"}
    assert not own & pool, f"a pool brand has {own & pool}"
    assert own <= silo, f"a silo brand lacks {own - silo}"


def test_a_pool_role_is_taken_on_by_the_pools_tasks_and_a_silo_role_by_its_own(house: Settings) -> None:
    brands, environment = read_house(house)
    trusts = {}
    for name in ("auto", "auto_deals"):
        (role,) = [one for one in aws_stack(brands[name], environment) if one.address == "aws_iam_role.worker"]
        trusts[name] = json.loads(role.values["assume_role_policy"])["Statement"][0]["Principal"]
    assert trusts["auto"] == {"AWS": "arn:aws:iam::123456789012:role/brandhouse/production/platform/brandhouse-production-platform-worker"}
    assert trusts["auto_deals"] == {"Service": "ecs-tasks.amazonaws.com"}


def test_workers_are_told_which_role_a_run_acts_as_and_it_is_the_one_that_the_brand_has(house: Settings) -> None:
    brands, environment = read_house(house)
    own = variables_of(aws_stack(brands["auto_deals"], environment))
    assert (own["worker"]["BRANDHOUSE_BRAND_ROLE"], own["gateway"].get("BRANDHOUSE_BRAND_ROLE")) == ("own", None)
    shared = variables_of(aws_platform(environment))
    assert "BRANDHOUSE_BRAND_ROLE" not in {**shared["gateway"], **shared["prefect"]}
    place = brand_place(brands["auto"], environment)
    assert shared["worker"]["BRANDHOUSE_BRAND_ROLE"].replace("{slug}", slug_of("auto")) == place.role_arn("worker")
    assert shared["worker"]["BRANDHOUSE_BRAND_SECRETS"].replace("{slug}", slug_of("auto")) == secret_name(place, SETTINGS)


def variables_of(resources: list[Resource]) -> dict[str, dict[str, str]]:
    tasks = [json.loads(one.values["container_definitions"])[0] for one in resources if one.kind == "aws_ecs_task_definition"]
    return {task["name"]: {one["name"]: one["value"] for one in task["environment"]} for task in tasks}


def test_every_role_of_a_brand_is_inside_its_boundary(house: Settings) -> None:
    brands, environment = read_house(house)
    roles = [resource for resource in aws_stack(brands["auto_deals"], environment) if resource.kind == "aws_iam_role"]
    assert len(roles) == 4, [role.name for role in roles]
    assert {role.values["permissions_boundary"] for role in roles} == {"${aws_iam_policy.boundary.arn}"}


def test_policies_are_within_the_lengths_that_aws_allows(tmp_path: Path) -> None:
    name = "a" * 40
    settings = write_house(tmp_path, [])
    write_brand(settings.root, name, isolation="silo")
    brands, environment = read_house(settings)
    for resource in [*aws_stack(brands[name], environment), *aws_platform(environment)]:
        limit = {"aws_iam_policy": 6144, "aws_iam_role_policy": 10_240, "aws_s3_bucket_policy": 20_480}.get(resource.kind)
        if limit:
            assert len(resource.values["policy"]) <= limit, f"{resource.address} has {len(resource.values['policy'])} characters"


def test_what_holds_data_is_kept_until_the_brand_leaves(tmp_path: Path) -> None:
    settings = write_house(tmp_path, ["casa"])
    for leaving in (False, True):
        write_brand(settings.root, "casa", leaving=leaving)
        brands, environment = read_house(settings)
        for resource in aws_stack(brands["casa"], environment):
            kept = "prevent_destroy" in resource.values.get("lifecycle", {})
            holds = resource.kind in ("aws_s3_bucket", "aws_kms_key", "aws_ecr_repository", "aws_secretsmanager_secret")
            assert kept == (holds and not leaving), f"{resource.address}: kept is {kept}, leaving is {leaving}"


def test_the_state_of_a_brand_lies_under_its_own_name_and_environment(house: Settings) -> None:
    brands, environment = read_house(house)
    backend = AwsTarget().head(_place(house, "auto"))["terraform"]["backend"]["s3"]
    assert backend["key"] == "brands/auto/production/terraform.tfstate"
    assert backend["use_lockfile"] and backend["encrypt"], backend
    provider = AwsTarget().head(_place(house, "auto"))["provider"]["aws"][0]
    assert provider["allowed_account_ids"] == [environment.account], "another account's credentials would be taken"
    assert len(brands) == 3


def test_building_stacks_loads_neither_cdk_nor_cloud_libraries(house: Settings) -> None:
    brands, environment = read_house(house)
    before = set(sys.modules)
    BrandStack(brands["auto_deals"], environment, AwsTarget()).as_document()
    heavy = {
        name for name in set(sys.modules) - before if name.partition(".")[0] in ("cdktn", "cdktn_provider_aws", "jsii", "boto3", "grpc")
    }
    assert not heavy, heavy


def _place(settings: Settings, name: str) -> BrandPlace:
    brands, environment = read_house(settings)
    return brand_place(brands[name], environment)
