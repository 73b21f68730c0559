"""Names: what becomes of a brand's, which brands cannot stand beside each other, and what an environment may be called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.infra_house import ENVIRONMENTS, read_house, write_house

from brandhouse_infra.environments import read_environments
from brandhouse_infra.errors import EnvironmentsError, StackNamesError, UnknownEnvironmentError, UnknownTargetError
from brandhouse_infra.site import brand_place
from brandhouse_infra.stack_names import check_names
from brandhouse_infra.targets.target import find_target
from brandhouse_infra.workplace import Workplace
from brandhouse_shared.names import NAME_PATTERN
from brandhouse_shared.slugs import MAX_SLUG, slug_of


@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_every_brand_name_becomes_one_that_buckets_and_repositories_take(name: str) -> None:
    slug = slug_of(name)
    assert 2 <= len(slug) <= MAX_SLUG or len(slug) == 1, f"{name} becomes {slug!r}"
    assert slug.replace("-", "").isalnum() and slug.islower(), f"{slug!r} has a character that AWS refuses"
    assert "--" not in slug and not slug.startswith("-") and not slug.endswith("-"), f"{slug!r} has a hyphen where AWS refuses it"


def test_no_name_in_the_cloud_is_longer_than_aws_allows(tmp_path: Path) -> None:
    settings = write_house(tmp_path, ["a" * 40])
    brands, environment = read_house(settings)
    place = brand_place(brands["a" * 40], environment.model_copy(update={"name": "production"}))
    assert len(place.bucket) <= 63, place.bucket
    assert len(place.role_name("deployer")) <= 64, place.role_name("deployer")


def test_two_long_names_that_begin_alike_stay_two() -> None:
    assert slug_of("a" * 30 + "b") != slug_of("a" * 30 + "c")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["leen_wijs", "leen__wijs"], "all become 'leen-wijs'"),
        (["auto", "auto_"], "all become 'auto'"),
        (["auto1", "autol"], "look alike"),
        (["modern", "modem"], "look alike"),
        (["platform", "casa"], "the platform's own"),
        (["platform_logs"], "the platform's own"),
        (["auto", "auto_worker"], "named as the worker of brand 'auto'"),
    ],
)
def test_brands_that_could_be_taken_for_one_another_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(StackNamesError, match=said):
        check_names(names)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(StackNamesError) as raised:
        check_names(["auto1", "autol", "platform", "a_b", "a__b"])
    assert len(raised.value.problems) == 3, raised.value


def test_names_that_only_begin_alike_are_two_brands() -> None:
    check_names(["auto", "auto_deals", "autos", "casa"])


def test_a_collision_stops_even_the_stacks_of_other_brands(tmp_path: Path) -> None:
    settings = write_house(tmp_path, ["casa", "a_b", "a__b"])
    with pytest.raises(StackNamesError, match="a__b"):
        Workplace.of(settings, "aws", "production").stacks(["casa"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[environments.staging]", "[environments.production]"), "declared once"),
        (("[environments.staging]", "[environments.pre-prod]"), "no name of an environment"),
        (("[environments.staging]", "[environments.much-too-long-a-name]"), "no name of an environment"),
        (('account = "123456789012"', 'account = "12345"'), "account"),
        (('cidr = "10.40.0.0/16"', 'cidr = "8.8.0.0/16"'), "private network"),
        (("eu-central-1:123456789012:certificate", "eu-west-1:123456789012:certificate"), "certificate must be of region"),
        (('repository = "house/brands"', 'repository = "house"'), "repository"),
        (('domain = "ml.house.example"', 'domian = "ml.house.example"'), "domian"),
    ],
)
def test_a_wrong_environment_is_refused_with_its_name_and_what_is_allowed(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    settings = write_house(tmp_path, [], ENVIRONMENTS.replace(*change, 1))
    with pytest.raises(EnvironmentsError, match=said):
        read_environments(settings.root)


def test_an_unknown_environment_or_target_lists_those_that_exist(tmp_path: Path) -> None:
    settings = write_house(tmp_path)
    with pytest.raises(UnknownEnvironmentError, match="production, staging"):
        Workplace.of(settings, "aws", "prod")
    with pytest.raises(UnknownTargetError, match="aws, local"):
        find_target("azure")


def test_a_missing_file_of_environments_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentsError, match=r"infra/environments.toml does not exist"):
        read_environments(tmp_path)
