"""The stack of the local target, from the declarations alone: the same policy as on AWS, its own state, nothing secret in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.fixtures.infra_house import aws_stack, read_house, write_house

from brandhouse_infra.blocks import empty_blocks
from brandhouse_infra.costs.estimates import Resource, resources_of_stack
from brandhouse_infra.environments import LocalPlace
from brandhouse_infra.local.names import MAX_NAME, deployer_role, state_schema
from brandhouse_infra.policing.local_rules import find_local_breaches
from brandhouse_infra.providers.local.identities import UNKNOWN_TO_STORE, for_store
from brandhouse_infra.providers.local.provider import LocalProvider
from brandhouse_infra.providers.plugin import ProviderError
from brandhouse_infra.stacks import BrandStack
from brandhouse_infra.targets.local import LocalTarget


@pytest.fixture
def stacks(tmp_path: Path) -> dict[str, dict[str, Any]]:
    brands, environment = read_house(write_house(tmp_path / "work"))
    return {name: BrandStack(brand, environment, LocalTarget()).as_document() for name, brand in brands.items()}


def test_the_policy_is_word_for_word_the_one_of_the_worker_on_aws(stacks: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    brands, environment = read_house(write_house(tmp_path / "other"))
    for name, brand in brands.items():
        (role,) = [one for one in aws_stack(brand, environment) if one.address == "aws_iam_role_policy.worker"]
        on_aws = json.loads(role.values["policy"])["Statement"]
        here = json.loads(stacks[name]["resource"]["aws_iam_user_policy"]["worker"]["policy"])["Statement"]
        assert len(here) == 2 and all(statement in on_aws for statement in here), name


def test_stacks_have_no_empty_block_and_each_its_own_state(stacks: dict[str, dict[str, Any]]) -> None:
    assert not [path for stack in stacks.values() for path in empty_blocks(stack)]
    backends = {name: stack["terraform"]["backend"]["pg"] for name, stack in stacks.items()}
    assert len({backend["schema_name"] for backend in backends.values()}) == len(stacks)
    for name, backend in backends.items():
        assert f"//deployer_production_{name}@" in backend["conn_str"] and "sslmode=disable" in backend["conn_str"]
        assert all(backend[f"skip_{part}_creation"] for part in ("schema", "table", "index"))


def test_names_fit_into_postgresql() -> None:
    longest = ("e" * 10, "b" * 40)
    assert len(deployer_role(*longest)) <= MAX_NAME and len(state_schema(*longest)) <= MAX_NAME


def test_every_type_of_the_stack_has_a_handler(stacks: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "operator.json", tmp_path)
    assert {kind for stack in stacks.values() for kind in stack["resource"]} == provider.resources.keys()


def test_rules_see_an_unencrypted_bucket_and_a_wildcard(stacks: dict[str, dict[str, Any]]) -> None:
    resources = resources_of_stack(stacks["auto"])
    assert find_local_breaches(resources) == []
    for kind in ("aws_s3_bucket_versioning", "aws_s3_bucket_server_side_encryption_configuration"):
        assert find_local_breaches([one for one in resources if one.kind != kind]) == [f"aws_s3_bucket.data has no {kind}"]
    statement = {"Sid": "Wide", "Effect": "Allow", "Action": ["s3:Get*"], "Resource": ["arn:aws:s3:::house-*/*"]}
    wide = Resource("aws_iam_user_policy", "worker", {"policy": json.dumps({"Statement": [statement]})})
    assert [breach.rpartition(": ")[2] for breach in find_local_breaches([wide])] == [
        "Action holds a wildcard",
        "Resource holds a wildcard",
    ]


def test_what_the_store_does_not_know_is_left_out_of_what_allows_and_never_of_what_denies() -> None:
    (unknown, _) = sorted(UNKNOWN_TO_STORE)
    statements = [{"Effect": effect, "Action": ["s3:GetObject", unknown], "Resource": ["x"]} for effect in ("Allow", "Deny")]
    allow, deny = for_store({"Statement": statements})["Statement"]
    assert allow["Action"] == ["s3:GetObject"] and deny["Action"] == ["s3:GetObject", unknown]


def test_an_encryption_whose_keys_the_store_would_forget_is_refused(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "operator.json", tmp_path)
    kind = "aws_s3_bucket_server_side_encryption_configuration"
    for algorithm in ("AES256", "aws:kms"):
        config = {"bucket": "b", "rule": [{"apply_server_side_encryption_by_default": [{"sse_algorithm": algorithm}]}]}
        if algorithm == "AES256":
            provider.check(kind, config)
        else:
            with pytest.raises(ProviderError, match="allowed here: AES256"):
                provider.check(kind, config)


def test_one_process_serves_one_environment(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "operator.json", tmp_path)
    config = {"store": "http://127.0.0.1:8333", "database": "127.0.0.1:5433/postgres", "region": "eu-central-1"}
    provider.configure(config)
    with pytest.raises(ProviderError, match="one process is of one environment"):
        provider.configure(config | {"store": "http://127.0.0.1:9333"})


def test_a_store_elsewhere_must_be_encrypted_on_the_way_and_a_database_is_checked() -> None:
    with pytest.raises(ValidationError, match="must be https"):
        LocalPlace(store="http://store.house.example:8333")
    place = LocalPlace(store="https://store.house.example:8333", database="db.house.example:5432/brandhouse")
    assert place.connection == {"host": "db.house.example", "port": 5432, "dbname": "brandhouse", "sslmode": "verify-full"}
