"""Policies: how documents are judged, every brand against every other, and that each rule notices what it is for."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.fixtures.infra_house import aws_platform, aws_stack, read_house, tenants, write_house

from brandhouse_infra.costs.estimates import Resource
from brandhouse_infra.policing.denials import Tenant, own_needs, try_all
from brandhouse_infra.policing.evaluation import Identity, Request, UnknownOperatorError, is_allowed, judge, may_become
from brandhouse_infra.policing.foreign import foreign_names
from brandhouse_infra.policing.rules import JUSTIFIED, find_breaches, policies_of
from brandhouse_infra.stacks import BrandStack, PlatformStack
from brandhouse_infra.targets.aws import AwsTarget
from brandhouse_shared.settings import Settings

GET = Request("s3:GetObject", "arn:aws:s3:::a/x", "arn:aws:iam::1:role/r", {"aws:SecureTransport": "true", "tag": "auto"})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return write_house(tmp_path_factory.mktemp("house") / "work")


def _says(**statement: Any) -> str:
    return judge({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", **statement}]}, GET, is_resource_policy=False)


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ({}, "allow"),
        ({"Effect": "Deny"}, "deny"),
        ({"Action": "S3:getobject"}, "allow"),
        ({"Action": ["s3:Put*", "s3:Get?bject"]}, "allow"),
        ({"Action": "s3:Put*"}, "nothing"),
        ({"Resource": "arn:aws:s3:::a/*"}, "allow"),
        ({"Resource": "arn:aws:s3:::a"}, "nothing"),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, "nothing"),
        ({"Condition": {"StringEquals": {"tag": ["casa", "auto"]}}}, "allow"),
        ({"Condition": {"StringEquals": {"tag": "casa"}}}, "nothing"),
        ({"Condition": {"StringLike": {"tag": "au*"}}}, "allow"),
        ({"Condition": {"StringEquals": {"absent": "x"}}}, "nothing"),
        ({"Condition": {"StringNotEquals": {"absent": "x"}}}, "allow"),
        ({"Condition": {"StringNotEquals": {"tag": "auto"}}}, "nothing"),
        ({"Condition": {"ForAnyValue:StringEquals": {"tag": "auto"}}}, "allow"),
    ],
)
def test_a_statement_is_judged_as_aws_does(statement: dict[str, Any], verdict: str) -> None:
    assert _says(**statement) == verdict, statement


def test_all_but_some_actions_means_all_others() -> None:
    others = {"Effect": "Deny", "NotAction": ["s3:Get*"], "Resource": "*"}
    assert judge({"Statement": [others]}, GET, is_resource_policy=False) == "nothing"
    assert judge({"Statement": [others]}, dataclasses.replace(GET, action="s3:PutObject"), is_resource_policy=False) == "deny"


def test_an_unknown_condition_is_no_guess() -> None:
    with pytest.raises(UnknownOperatorError, match="DateLessThan"):
        _says(Condition={"DateLessThan": {"aws:CurrentTime": "2030"}})


def test_a_deny_anywhere_wins_and_a_boundary_limits() -> None:
    allow = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    little = {"Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}
    deny = {"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Principal": "*"}]}
    assert is_allowed(Identity(GET.principal, (allow,), None), GET)
    assert not is_allowed(Identity(GET.principal, (allow,), little), GET), "the boundary did not limit"
    assert not is_allowed(Identity(GET.principal, (allow,), None), GET, [deny]), "the bucket's own denial was passed over"
    assert not is_allowed(Identity(GET.principal, (), None), GET), "what nobody allows was allowed"


def test_only_the_named_workflow_becomes_the_deployer(house: Settings) -> None:
    (tenant, *_) = tenants(house)
    keys = {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
    provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"

    def becomes(subject: str) -> bool:
        context = {**keys, "token.actions.githubusercontent.com:sub": subject}
        return may_become(tenant.trust("deployer"), Request("sts:AssumeRoleWithWebIdentity", "", provider, context))

    assert becomes("repo:house/brands:environment:production-auto")
    for subject in (
        "repo:house/brands:environment:production-auto_deals",
        "repo:thief/brands:environment:production-auto",
        "repo:house/brands:ref:main",
    ):
        assert not becomes(subject), f"{subject} became auto's deployer"


def test_no_role_of_a_brand_reaches_another_brand(house: Settings) -> None:
    everyone = tenants(house)
    answers = [answer for one in everyone for other in everyone if one is not other for answer in try_all(one, other)]
    assert len(answers) > 600, "too little was tried"
    assert not [answer for answer in answers if answer.allowed]


def test_each_role_can_do_what_it_is_for_and_nothing_more(house: Settings) -> None:
    wrong = [(answer, needed) for tenant in tenants(house) for answer, needed in own_needs(tenant) if answer.allowed != needed]
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("address", "change"),
    [
        ("aws_iam_role_policy.worker", lambda text: text.replace("production-auto-123456789012", "production-auto*")),
        ("aws_iam_role_policy.deployer", lambda text: text.replace("brands/auto/production", "brands/auto*")),
    ],
)
def test_the_matrix_notices_a_pattern_that_reaches_too_far(house: Settings, address: str, change: Callable[[str], str]) -> None:
    auto, deals, _ = tenants(house)
    resources = dict(auto.resources)
    for altered in (address, "aws_iam_policy.boundary"):
        resource = resources[altered]
        resources[altered] = dataclasses.replace(resource, values={**resource.values, "policy": change(resource.values["policy"])})
    allowed = [answer for answer in try_all(Tenant(auto.place, resources), deals) if answer.allowed]
    assert allowed, "a worker of auto may read auto_deals, and nothing was noticed"


def test_the_matrix_notices_a_role_that_trusts_another_brand(house: Settings) -> None:
    auto, deals, _ = tenants(house)
    resources = dict(deals.resources)
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": auto.place.role_arn("worker")}}]}
    resources["aws_iam_role.serving"] = Resource("aws_iam_role", "serving", {"assume_role_policy": json.dumps(trust)})
    allowed = [answer.action for answer in try_all(auto, Tenant(deals.place, resources)) if answer.allowed]
    assert allowed == ["sts:AssumeRole serving"], allowed


def test_all_stacks_keep_all_rules(house: Settings) -> None:
    brands, environment = read_house(house)
    for resources in (*(aws_stack(brand, environment) for brand in brands.values()), aws_platform(environment)):
        assert find_breaches(resources) == []


def test_each_exception_is_still_needed(house: Settings) -> None:
    brands, environment = read_house(house)
    resources = [*aws_stack(brands["auto_deals"], environment), *aws_platform(environment)]
    addresses = {resource.address for resource in resources}
    sids = {
        (resource.address, statement.get("Sid"))
        for resource in resources
        for one in policies_of(resource)
        for statement in one["Statement"]
    }
    for address, what in JUSTIFIED:
        assert (address, what) in sids or (what in ("public", "encrypted") and address in addresses), (
            f"{address} {what} is excepted and does not exist"
        )


def _allowing(action: str, resource: str, **more: str) -> str:
    return json.dumps({"Statement": [{"Sid": "X", "Effect": "Allow", "Action": [action], "Resource": [resource], **more}]})


MUTATIONS: list[tuple[str, str, str, Any]] = [
    (
        "wildcard",
        "aws_iam_role_policy.worker",
        "policy",
        _allowing("s3:*", "arn:aws:s3:::x"),
    ),
    (
        "wildcard",
        "aws_iam_role_policy.serving",
        "policy",
        _allowing("s3:GetObject", "*"),
    ),
    (
        "public",
        "aws_s3_bucket_policy.data",
        "policy",
        _allowing("s3:GetObject", "x", Principal="*"),
    ),
    ("public", "aws_s3_bucket_public_access_block.data", "block_public_policy", False),
    ("public", "aws_s3_bucket_public_access_block.data", None, None),
    ("public", "aws_vpc_security_group_ingress_rule.home_gateway", "cidr_ipv4", "0.0.0.0/0"),
    ("public", "aws_ecs_service.gateway", "network_configuration", {"assign_public_ip": True}),
    ("encrypted", "aws_cloudwatch_log_group.worker", "kms_key_id", ""),
    ("encrypted", "aws_secretsmanager_secret.settings", "kms_key_id", ""),
    ("encrypted", "aws_ecr_repository.images", "encryption_configuration", [{"encryption_type": "AES256"}]),
    ("encrypted", "aws_efs_file_system.home", "encrypted", False),
    ("encrypted", "aws_kms_key.own", "enable_key_rotation", False),
    ("encrypted", "aws_s3_bucket_server_side_encryption_configuration.data", "rule", [{"bucket_key_enabled": True}]),
    ("encrypted", "aws_s3_bucket_server_side_encryption_configuration.data", None, None),
    ("kept", "aws_s3_bucket_versioning.data", None, None),
    ("tagged", "aws_kms_key.own", "tags", {"brand": "auto_deals"}),
]


@pytest.mark.parametrize(("rule", "address", "argument", "value"), MUTATIONS)
def test_each_rule_notices_what_it_is_for(house: Settings, rule: str, address: str, argument: str | None, value: Any) -> None:
    brands, environment = read_house(house)
    resources = {resource.address: resource for resource in aws_stack(brands["auto_deals"], environment)}
    changed = resources.pop(address)
    if argument is not None:
        resources[address] = dataclasses.replace(changed, values={**changed.values, argument: value})
    assert rule in {breach.rule for breach in find_breaches(list(resources.values()))}, f"{rule} did not notice {address}"


def test_no_stack_names_another_brand(house: Settings) -> None:
    for name, document in _documents(house).items():
        assert _foreign(house, name, document) == [], name


@pytest.mark.parametrize(
    "planted",
    [
        "arn:aws:s3:::brandhouse-production-auto-deals-123456789012/*",
        "brandhouse/production/auto-deals/settings",
        "brandhouse-staging-auto-210987654321",
        "s3://x/brands/casa/production/terraform.tfstate",
        "terraform_remote_state",
    ],
)
def test_a_planted_name_of_another_brand_is_found(house: Settings, planted: str) -> None:
    document = {**_documents(house)["auto"], "planted": planted}
    assert _foreign(house, "auto", document), f"{planted} was not noticed in auto's stack"


def _documents(settings: Settings) -> dict[str, dict[str, Any]]:
    brands, environment = read_house(settings)
    documents = {name: BrandStack(brand, environment, AwsTarget()).as_document() for name, brand in brands.items()}
    return {**documents, "platform": PlatformStack(environment, AwsTarget()).as_document()}


def _foreign(settings: Settings, name: str, document: dict[str, Any]) -> list[str]:
    slugs = [one.replace("_", "-") for one in read_house(settings)[0]]
    slug = name.replace("_", "-")
    return foreign_names(document, slug=slug, tenant=name, environment="production", slugs=slugs, environments=["production", "staging"])
